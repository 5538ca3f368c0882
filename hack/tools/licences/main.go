// The licences tool looks at the licence of every module that is in a shipped binary, on every platform that it ships for. It
// fails if one has none, or none that is allowed.
//
//	licences PACKAGE=GOOS,GOOS...
//
// Run it in the module whose packages these are.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// allowed are licences that ask for no more than that they are passed on; MPL-2.0 asks, beyond that, for the sources of
// those files alone that are under it, and they are public as they are.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// leastCoverage is how much of a file, in percent, must be the words of licences for it to be one; the rest is notices and
// names.
const leastCoverage = 75

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, arguments []string) error {
	modules := map[string]*module{}
	for _, argument := range arguments {
		pkg, systems, ok := strings.Cut(argument, "=")
		if !ok {
			return errors.New("usage: licences PACKAGE=GOOS,GOOS...")
		}
		for _, system := range strings.Split(systems, ",") {
			if err := collect(modules, pkg, system); err != nil {
				return err
			}
		}
	}
	if len(modules) == 0 {
		return errors.New("no module was found, which can't be")
	}
	counts, problems := map[string]int{}, []string(nil)
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		found, err := modules[name].licences()
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %s", name, err))
			continue
		}
		counts[strings.Join(found, " and ")]++
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d of %d modules may not be shipped:\n  %s\nallowed are %s",
			len(problems), len(modules), strings.Join(problems, "\n  "), strings.Join(allowed, ", "))
	}
	fmt.Fprintf(out, "licences: %d modules", len(modules))
	separator := ":"
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, "%s %d %s", separator, counts[name], name)
		separator = ","
	}
	fmt.Fprintln(out)
	return nil
}

// module is one that a binary has packages of.
type module struct {
	root string
	// packages are the folders of those.
	packages map[string]bool
}

// collect adds the modules of a package and of all that it imports on a system, but for the main module.
func collect(modules map[string]*module, pkg, system string) error {
	var stderr bytes.Buffer
	list := exec.Command("go", "list", "-deps", "-json=Dir,ImportPath,Standard,Module", pkg)
	list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	list.Stderr = &stderr
	listed, err := list.Output()
	if err != nil {
		return fmt.Errorf("go list %s for %s: %w: %s", pkg, system, err, stderr.String())
	}
	for decoder := json.NewDecoder(bytes.NewReader(listed)); ; {
		var p struct {
			Dir, ImportPath string
			Standard        bool
			Module          *struct {
				Path, Dir string
				Main      bool
			}
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("what go list says: %w", err)
		}
		switch {
		case p.Standard: // Under Go's own licence, as the compiler is.
			continue
		case p.Module == nil || p.Module.Dir == "":
			return fmt.Errorf("%s is of no module that was downloaded", p.ImportPath)
		case p.Module.Main:
			continue
		}
		m := modules[p.Module.Path]
		if m == nil {
			m = &module{root: p.Module.Dir, packages: map[string]bool{}}
			modules[p.Module.Path] = m
		}
		m.packages[p.Dir] = true
	}
}

// licences are the names of all licences that hold for a module's packages: those in the root, and those on the way from there
// to a package, which may be somebody else's code.
func (m *module) licences() ([]string, error) {
	names, files := map[string]bool{}, 0
	for _, folder := range m.folders() {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if entry.IsDir() || !isLicence(entry.Name()) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
			if err != nil {
				return nil, err
			}
			found, err := recognize(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", entry.Name(), err)
			}
			files++
			for _, name := range found {
				names[name] = true
			}
		}
	}
	if files == 0 {
		return nil, errors.New("it has no licence")
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// folders are the root, and those from there to each package.
func (m *module) folders() []string {
	folders := map[string]bool{m.root: true}
	for folder := range m.packages {
		for ; len(folder) > len(m.root) && strings.HasPrefix(folder, m.root); folder = filepath.Dir(folder) {
			folders[folder] = true
		}
	}
	return slices.Sorted(maps.Keys(folders))
}

// isLicence says whether a file should be a licence, by its name.
func isLicence(name string) bool {
	name = strings.ToUpper(name)
	if slices.Contains([]string{".GO", ".PROTO", ".JSON", ".YAML", ".YML"}, filepath.Ext(name)) {
		return false
	}
	for _, begin := range []string{"LICENSE", "LICENCE", "COPYING", "UNLICENSE"} {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	return false
}

// recognize finds the names of a text's licences, all of which must be allowed.
func recognize(text []byte) ([]string, error) {
	found := licensecheck.Scan(text)
	if len(found.Match) == 0 || found.Percent < leastCoverage {
		return nil, errors.New("it is not known which licence that is")
	}
	var names []string
	for _, match := range found.Match {
		if match.IsURL {
			continue // A mention, as at the end of the Apache licence.
		}
		if !slices.Contains(allowed, match.ID) {
			return nil, fmt.Errorf("%s is not allowed", match.ID)
		}
		names = append(names, match.ID)
	}
	if len(names) == 0 {
		return nil, errors.New("it names a licence, and is none")
	}
	return names, nil
}
