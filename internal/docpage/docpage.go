// Package docpage writes the parts of docs/ that are generated.
package docpage

import (
	"fmt"
	"strings"
)

// Put replaces what a page has between its marks <!-- begin: mark --> and <!-- end: mark -->. It fails if the page has not both.
func Put(page, mark, text string) (string, error) {
	begin, end := "<!-- begin: "+mark+" -->\n", "<!-- end: "+mark+" -->\n"
	before, rest, found := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("the page has not both marks %q and %q", begin, end)
	}
	return before + begin + text + end + after, nil
}

// Row is a row of a table.
func Row(cells ...string) string {
	var row strings.Builder
	for _, cell := range cells {
		row.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
	}
	return row.String() + "|\n"
}
