package main

import (
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/tokensteward/tokensteward/internal/testenv"
)

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// imageSize compresses what the image holds, which is one binary.
func imageSize(_ context.Context, w *world, _ *options) error {
	binary, err := os.Open(filepath.Join(testenv.Root(), "bin", "linux_amd64", "manager"))
	if err != nil {
		return err
	}
	defer func() { _ = binary.Close() }()
	var size counter
	compressed := gzip.NewWriter(&size)
	if _, err := io.Copy(compressed, binary); err != nil {
		return err
	}
	if err := compressed.Close(); err != nil {
		return err
	}
	w.results.aim("image", "compressed, linux/amd64", float64(size)/1e6, "MB", 25)
	return nil
}
