package v1alpha1_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// What is in a CRD counts against the API server's budget for CEL, and fills etcd; and a user reads it with kubectl
// explain. So everything has a description and a bound.
func TestEverythingInTheSchemaIsDescribedAndBounded(t *testing.T) {
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %d CRDs: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var definition struct {
				Spec struct {
					Versions []struct {
						Name   string `json:"name"`
						Schema struct {
							OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
						} `json:"schema"`
					} `json:"versions"`
				} `json:"spec"`
			}
			if err := yaml.Unmarshal(content, &definition); err != nil {
				t.Fatal(err)
			}
			if len(definition.Spec.Versions) == 0 {
				t.Fatal("no version")
			}
			for _, version := range definition.Spec.Versions {
				if len(version.Schema.OpenAPIV3Schema) == 0 {
					t.Errorf("%s: no schema", version.Name)
				}
				for _, problem := range rootProblems(version.Schema.OpenAPIV3Schema) {
					t.Errorf("%s %s", version.Name, problem)
				}
			}
		})
	}
}

func TestWhatIsMissingInASchemaIsNamedByItsPath(t *testing.T) {
	for name, test := range map[string]struct {
		schema string
		want   []string
	}{
		"nothing is asked of what every resource has": {
			`{apiVersion: {type: string}, kind: {type: string}, metadata: {type: object}}`, nil,
		},
		"the same names elsewhere are like any other": {
			`{spec: {type: object, description: d, properties: {kind: {type: string}}}}`,
			[]string{".spec.kind: no description", ".spec.kind: a string without maxLength"},
		},
		"a good schema": {
			`{spec: {description: d, type: object, properties: {
				name: {description: d, type: string, maxLength: 9},
				way: {description: d, type: string, enum: [one, other]},
				when: {description: d, type: string, format: date-time},
				count: {description: d, type: integer},
				list: {description: d, type: array, maxItems: 3, x-kubernetes-list-type: set, items: {type: string, maxLength: 9}},
				labels: {description: d, type: object, maxProperties: 3, additionalProperties: {type: string, maxLength: 9}}}}}`, nil,
		},
		"an object without a description": {
			`{spec: {type: object}}`, []string{".spec: no description"},
		},
		"a string of another format": {
			`{name: {description: d, type: string, format: uri}}`, []string{".name: a string without maxLength"},
		},
		"a list": {
			`{list: {description: d, type: array, items: {type: string}}}`,
			[]string{".list: a list without maxItems", ".list: a list without x-kubernetes-list-type", ".list[]: a string without maxLength"},
		},
		"an object in a list": {
			`{list: {description: d, type: array, maxItems: 3, x-kubernetes-list-type: atomic, items: {type: object, properties: {name: {type: integer}}}}}`,
			[]string{".list[].name: no description"},
		},
		"a map": {
			`{labels: {description: d, type: object, additionalProperties: {type: string}}}`,
			[]string{".labels: a map without maxProperties", ".labels{}: a string without maxLength"},
		},
		"a map of anything": {
			`{labels: {description: d, type: object, additionalProperties: true}}`,
			[]string{".labels: a map without maxProperties"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var properties map[string]any
			if err := yaml.Unmarshal([]byte(test.schema), &properties); err != nil {
				t.Fatal(err)
			}
			got := rootProblems(map[string]any{"type": "object", "properties": properties})
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q\nwant %q", got, test.want)
			}
		})
	}
}

// rootProblems are those of a resource, but for what every resource has.
func rootProblems(root map[string]any) []string {
	root = maps.Clone(root)
	properties, _ := root["properties"].(map[string]any)
	properties = maps.Clone(properties)
	for _, known := range []string{"apiVersion", "kind", "metadata"} {
		delete(properties, known)
	}
	root["properties"] = properties
	return problems("", root)
}

// problems names what a schema lacks, each with the path to it.
func problems(path string, schema map[string]any) []string {
	var found []string
	lacks := func(what, field string) {
		if _, ok := schema[field]; !ok {
			found = append(found, fmt.Sprintf("%s: %s%s", path, what, field))
		}
	}
	switch schema["type"] {
	case "array":
		lacks("a list without ", "maxItems")
		lacks("a list without ", "x-kubernetes-list-type")
	case "string":
		if _, limited := schema["enum"]; !limited && schema["format"] != "date-time" {
			lacks("a string without ", "maxLength")
		}
	}
	if items, ok := schema["items"].(map[string]any); ok {
		found = append(found, problems(path+"[]", items)...)
	}
	if values, ok := schema["additionalProperties"]; ok {
		lacks("a map without ", "maxProperties")
		if values, ok := values.(map[string]any); ok {
			found = append(found, problems(path+"{}", values)...)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		property, _ := properties[name].(map[string]any)
		if description, _ := property["description"].(string); description == "" {
			found = append(found, fmt.Sprintf("%s.%s: no description", path, name))
		}
		found = append(found, problems(path+"."+name, property)...)
	}
	return found
}
