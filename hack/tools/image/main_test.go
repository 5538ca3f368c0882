package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

const ref = "registry.example/tokensteward/tokensteward:v1.2.3"

func TestTheSameBinariesMakeTheSameBytes(t *testing.T) {
	first, second := exampleArchive(t, "/manager"), exampleArchive(t, "/manager")
	if !bytes.Equal(first, second) {
		t.Error("the archives differ")
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if bytes.Equal(first, exampleArchive(t, "/manager")) {
		t.Error("SOURCE_DATE_EPOCH changes nothing")
	}
}

func TestTheArchiveHoldsTheImageOfEachPlatform(t *testing.T) {
	dir := unpack(t, exampleArchive(t, "/bin/other"))
	top, err := layout.ImageIndexFromPath(dir)
	check(t, err)
	manifest, err := top.IndexManifest()
	check(t, err)
	if got := manifest.Manifests[0].Annotations; len(manifest.Manifests) != 1 ||
		got["io.containerd.image.name"] != ref || got["org.opencontainers.image.ref.name"] != "v1.2.3" {
		t.Fatalf("index.json names %v", got)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	check(t, err)
	manifest, err = index.IndexManifest()
	check(t, err)
	var platforms []string
	for _, descriptor := range manifest.Manifests {
		platforms = append(platforms, descriptor.Platform.String())
		image, err := index.Image(descriptor.Digest)
		check(t, err)
		config, err := image.ConfigFile()
		check(t, err)
		if config.Platform().String() != descriptor.Platform.String() {
			t.Errorf("the image of %s says that it is for %s", descriptor.Platform, config.Platform())
		}
		if config.Config.User != "65532:65532" || !reflect.DeepEqual(config.Config.Entrypoint, []string{"/bin/other"}) ||
			config.Config.Labels["org.opencontainers.image.version"] != "v1.2.3" || config.Created.Unix() != 0 {
			t.Errorf("the configuration is %+v, created %v", config.Config, config.Created)
		}
		checkLayer(t, image, "the binary of "+descriptor.Platform.Architecture)
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !reflect.DeepEqual(platforms, want) {
		t.Errorf("the platforms are %v, not %v", platforms, want)
	}
}

// checkLayer looks for the one file, in the one layer.
func checkLayer(t *testing.T, image v1.Image, content string) {
	t.Helper()
	layers, err := image.Layers()
	check(t, err)
	if len(layers) != 1 {
		t.Fatalf("there are %d layers", len(layers))
	}
	uncompressed, err := layers[0].Uncompressed()
	check(t, err)
	reader := tar.NewReader(uncompressed)
	header, err := reader.Next()
	check(t, err)
	if header.Name != "bin/other" || header.Mode != 0o755 || header.Uid != 0 || header.Gid != 0 || header.ModTime.Unix() != 0 {
		t.Errorf("the file is %+v", header)
	}
	got, err := io.ReadAll(reader)
	check(t, err)
	if string(got) != content {
		t.Errorf("the file holds %q", got)
	}
	if _, err := reader.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("there is more than one file: %v", err)
	}
}

func TestAnOldDockerFindsTheFirstPlatform(t *testing.T) {
	dir := unpack(t, exampleArchive(t, "/manager"))
	content, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	check(t, err)
	var manifests []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	check(t, json.Unmarshal(content, &manifests))
	if len(manifests) != 1 || len(manifests[0].Layers) != 1 || !reflect.DeepEqual(manifests[0].RepoTags, []string{ref}) {
		t.Fatalf("manifest.json is %s", content)
	}
	_, err = os.Stat(filepath.Join(dir, manifests[0].Layers[0]))
	check(t, err)
	config, err := os.ReadFile(filepath.Join(dir, manifests[0].Config))
	check(t, err)
	if !bytes.Contains(config, []byte(`"architecture":"amd64"`)) {
		t.Errorf("the configuration is %s", config)
	}
}

// The Dockerfile builds the same image; neither can read from the other what to say of it.
func TestTheDockerfileSaysTheSame(t *testing.T) {
	content, err := os.ReadFile("../../../Dockerfile")
	check(t, err)
	_, final, _ := strings.Cut(string(content), "FROM scratch")
	file := filepath.Join(t.TempDir(), "manager")
	check(t, os.WriteFile(file, nil, 0o600))
	image, err := build(&v1.Platform{OS: "linux", Architecture: "amd64"}, file, "$VERSION", "/manager", time.Unix(0, 0))
	check(t, err)
	config, err := image.ConfigFile()
	check(t, err)
	labels := map[string]string{}
	for _, match := range regexp.MustCompile(`(org\.[a-z.]+)="([^"]*)"`).FindAllStringSubmatch(final, -1) {
		labels[match[1]] = match[2]
	}
	if !reflect.DeepEqual(config.Config.Labels, labels) {
		t.Errorf("the labels here are %v, in the Dockerfile %v", config.Config.Labels, labels)
	}
	for _, line := range []string{"USER " + config.Config.User, `ENTRYPOINT ["/manager"]`, "COPY --from=build /manager /manager"} {
		if !strings.Contains(final, "\n"+line+"\n") {
			t.Errorf("the Dockerfile lacks: %s", line)
		}
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "manager")
	check(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct{ ref, entrypoint, binary, want string }{
		"no tag":              {"registry.example/x", "/manager", "linux/amd64=" + file, "with a tag"},
		"no binary":           {ref, "/manager", "linux/amd64", "write it as linux/amd64=path"},
		"no platform":         {ref, "/manager", file, "write it as linux/amd64=path"},
		"no such file":        {ref, "/manager", "linux/amd64=" + file + "x", "no such file"},
		"relative entrypoint": {ref, "manager", "linux/amd64=" + file, "begins with /"},
	} {
		err := write(filepath.Join(t.TempDir(), "image.tar"), c.ref, "v1", c.entrypoint, []string{c.binary})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// exampleArchive makes an archive of two platforms, from files that are new each time.
func exampleArchive(t *testing.T, entrypoint string) []byte {
	t.Helper()
	dir := t.TempDir()
	var binaries []string
	for _, architecture := range []string{"amd64", "arm64"} {
		file := filepath.Join(dir, architecture)
		check(t, os.WriteFile(file, []byte("the binary of "+architecture), 0o600))
		binaries = append(binaries, "linux/"+architecture+"="+file)
	}
	output := filepath.Join(dir, "image.tar")
	check(t, write(output, ref, "v1.2.3", entrypoint, binaries))
	content, err := os.ReadFile(output)
	check(t, err)
	return content
}

func unpack(t *testing.T, archive []byte) string {
	t.Helper()
	dir := t.TempDir()
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		check(t, err)
		content, err := io.ReadAll(reader)
		check(t, err)
		file := filepath.Join(dir, header.Name)
		check(t, os.MkdirAll(filepath.Dir(file), 0o750))
		check(t, os.WriteFile(file, content, 0o600))
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
