package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// zlib is the shortest licence that is not on the list.
const zlib = `This software is provided 'as-is', without any express or implied
warranty. In no event will the authors be held liable for any damages
arising from the use of this software.

Permission is granted to anyone to use this software for any purpose,
including commercial applications, and to alter it and redistribute it
freely, subject to the following restrictions:

1. The origin of this software must not be misrepresented; you must not
   claim that you wrote the original software. If you use this software
   in a product, an acknowledgment in the product documentation would be
   appreciated but is not required.
2. Altered source versions must be plainly marked as such, and must not be
   misrepresented as being the original software.
3. This notice may not be removed or altered from any source distribution.
`

func TestLicencesOfAModule(t *testing.T) {
	apache, err := os.ReadFile("../../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"one that is allowed":     {map[string]string{"LICENSE": string(apache)}, "Apache-2.0"},
		"with an ending":          {map[string]string{"LICENSE.txt": string(apache)}, "Apache-2.0"},
		"only beside the package": {map[string]string{"pkg/inner/COPYING": string(apache)}, "Apache-2.0"},
		"none":                    {map[string]string{"README": "free for all"}, "it has no licence"},
		"only beside a package that nobody imports": {map[string]string{"other/LICENSE": string(apache)}, "it has no licence"},
		"one that is not allowed":                   {map[string]string{"LICENSE": zlib}, "Zlib is not allowed"},
		"another one on the way to the package":     {map[string]string{"LICENSE": string(apache), "pkg/LICENSE": zlib}, "Zlib is not allowed"},
		"words that are no licence":                 {map[string]string{"LICENSE": "All rights reserved. Do not copy."}, "it is not known which"},
		"a program that checks licences":            {map[string]string{"LICENSE": string(apache), "license.go": "package pkg"}, "Apache-2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			inner := filepath.Join(root, "pkg", "inner")
			if err := os.MkdirAll(inner, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range c.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			found, err := (&module{root: root, packages: map[string]bool{inner: true}}).licences()
			got := strings.Join(found, " ")
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestWhatImportsNothingIsNoProofThatAllIsWell(t *testing.T) {
	if err := run(os.Stdout, nil); err == nil {
		t.Error("no module at all, and no error")
	}
	if err := run(os.Stdout, []string{"./nowhere=linux"}); err == nil {
		t.Error("a package that does not exist, and no error")
	}
}
