// The image tool writes what the Dockerfile builds, without Docker: an OCI image layout in a tar, for several platforms,
// which containerd, Docker, Podman and kind load under its name. The same binaries make the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	ref := flag.String("ref", "", "The image's whole name, with a tag.")
	version := flag.String("version", "dev", "The version that its labels tell.")
	entrypoint := flag.String("entrypoint", "/manager", "Where the binary is in the image.")
	output := flag.String("output", "", "The archive to write.")
	flag.Parse()
	if err := write(*output, *ref, *version, *entrypoint, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(output, ref, version, entrypoint string, binaries []string) error {
	if output == "" || !path.IsAbs(entrypoint) || len(binaries) == 0 {
		return errors.New("give --output, an --entrypoint that begins with /, and binaries as linux/amd64=path")
	}
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("--ref must be the image's whole name, with a tag: %w", err)
	}
	// All in the image has one date, so that it does not depend on when it was built.
	seconds, err := strconv.ParseInt(cmp.Or(os.Getenv("SOURCE_DATE_EPOCH"), "0"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH must be a number of seconds, or unset: %w", err)
	}
	epoch := time.Unix(seconds, 0).UTC()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var forOldDocker []byte
	for i, binary := range binaries {
		text, file, _ := strings.Cut(binary, "=")
		platform, err := v1.ParsePlatform(text)
		if err != nil || platform.Architecture == "" || file == "" {
			return fmt.Errorf("%q is no binary of a platform: write it as linux/amd64=path", binary)
		}
		img, err := build(platform, file, version, entrypoint, epoch)
		if err != nil {
			return fmt.Errorf("the image of %s: %w", text, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
		if i == 0 {
			if forOldDocker, err = dockerManifest(img, tag); err != nil {
				return err
			}
		}
	}
	named := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add: index,
		Descriptor: v1.Descriptor{Annotations: map[string]string{
			"io.containerd.image.name":          tag.Name(),
			"org.opencontainers.image.ref.name": tag.TagStr(),
		}},
	})
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := layout.Write(dir, named); err != nil {
		return err
	}
	return archive(output, os.DirFS(dir), forOldDocker, epoch)
}

// build makes the image of one platform. The Dockerfile says the same of it; a test compares them.
func build(platform *v1.Platform, file, version, entrypoint string, epoch time.Time) (v1.Image, error) {
	binary, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var files bytes.Buffer
	writer := tar.NewWriter(&files)
	if err := errors.Join(add(writer, entrypoint[1:], 0o755, epoch, binary), writer.Close()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: epoch}
	img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant,
		Created: created, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{User: "65532:65532", Entrypoint: []string{entrypoint}, Labels: map[string]string{
			"org.opencontainers.image.title":    "tokensteward",
			"org.opencontainers.image.version":  version,
			"org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.source":   "https://github.com/tokensteward/tokensteward",
		}},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(mutate.ConfigMediaType(img, types.OCIConfigJSON),
		mutate.Addendum{Layer: layer, History: v1.History{Created: created, CreatedBy: "COPY " + entrypoint}})
}

// dockerManifest makes the manifest.json of a Docker that keeps images its own way instead of containerd's. It knows no
// platforms, so it gets the first one; all others read index.json.
func dockerManifest(img v1.Image, tag name.Tag) ([]byte, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	config, layer := manifest.Config.Digest.Hex, manifest.Layers[0].Digest.Hex
	return json.Marshal([]tarball.Descriptor{
		{Config: "blobs/sha256/" + config, RepoTags: []string{tag.Name()}, Layers: []string{"blobs/sha256/" + layer}},
	})
}

func archive(output string, layout fs.FS, forOldDocker []byte, epoch time.Time) error {
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	writer := tar.NewWriter(file)
	err = fs.WalkDir(layout, ".", func(name string, entry fs.DirEntry, err error) error { // in the order of names
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(layout, name)
		return errors.Join(err, add(writer, name, 0o644, epoch, content))
	})
	return errors.Join(err, add(writer, "manifest.json", 0o644, epoch, forOldDocker), writer.Close(), file.Close())
}

func add(writer *tar.Writer, name string, mode int64, modified time.Time, content []byte) error {
	err := writer.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: modified, Format: tar.FormatUSTAR})
	if err != nil {
		return err
	}
	_, err = writer.Write(content)
	return err
}
