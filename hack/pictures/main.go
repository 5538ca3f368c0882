// Pictures draws chapters of what the demo printed, as SVG: pictures CHAPTER[,CHAPTER...] OUTPUT.svg <demo.txt
package main

import (
	"bufio"
	"fmt"
	"html"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// Of the picture, in pixels.
const (
	lineHeight = 18
	// letterWidth is that of a letter in a common monospaced font of 13 pixels, rounded up.
	letterWidth = 8
	margin      = 16
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: pictures CHAPTER[,CHAPTER...] OUTPUT.svg <demo.txt")
	}
	lines, err := chapters(strings.Split(os.Args[1], ","))
	if err != nil {
		return err
	}
	return os.WriteFile(os.Args[2], []byte(draw(lines)), 0o600)
}

// chapters reads the lines of chapters, which begin with "== 3. ".
func chapters(wanted []string) (lines []string, err error) {
	missing, within := slices.Clone(wanted), false
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		line := input.Text()
		if title, ok := strings.CutPrefix(line, "== "); ok {
			number, _, _ := strings.Cut(title, ".")
			within = slices.Contains(wanted, number)
			missing = slices.DeleteFunc(missing, func(chapter string) bool { return chapter == number })
		}
		within = within && !strings.HasPrefix(line, "Every step did what it says")
		if within {
			lines = append(lines, line)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the demo has no chapter %s", missing[0])
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines, input.Err()
}

// draw sets lines in a terminal's letters.
func draw(lines []string) string {
	longest := 0
	for _, line := range lines {
		longest = max(longest, utf8.RuneCountInString(line))
	}
	width, height := 2*margin+longest*letterWidth, 2*margin+len(lines)*lineHeight
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13">`+"\n", width, height, width)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" rx="8" fill="#14191f"/>`+"\n", width, height)
	for i, line := range lines {
		fill, weight := "#d6dde4", "normal"
		switch {
		case strings.HasPrefix(line, "== "):
			fill, weight = "#ffffff", "bold"
		case strings.HasPrefix(line, "$ "):
			fill = "#7fd18b"
		}
		if line != "" {
			fmt.Fprintf(&svg, `<text x="%d" y="%d" fill="%s" font-weight="%s" xml:space="preserve">%s</text>`+"\n",
				margin, margin+i*lineHeight+13, fill, weight, html.EscapeString(line))
		}
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}
