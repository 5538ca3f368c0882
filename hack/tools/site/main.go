// Site makes a web site of the Markdown in docs/, and fails if a link leads nowhere. The same files can be read in the
// repository: docs/README.md is the table of contents in both places.
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
)

//go:embed page.html
var layout string

// contents is the page that says which pages there are, and in which order.
const contents = "README.md"

func main() {
	docs := flag.String("docs", "docs", "the folder of the Markdown")
	out := flag.String("out", "dist/site", "the folder to write")
	repository := flag.String("repository", "", "the URL of the repository's files, for links to what is not in docs")
	flag.Parse()
	if err := build(*docs, *out, *repository); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}

// page is one Markdown file.
type page struct {
	// name is its path below docs, with slashes.
	name    string
	source  []byte
	tree    ast.Node
	title   string
	anchors map[string]bool
}

// output is where the page is in the site.
func (p *page) output() string { return outputOf(p.name) }

func outputOf(name string) string {
	if path.Base(name) == contents {
		return path.Join(path.Dir(name), "index.html")
	}
	return strings.TrimSuffix(name, ".md") + ".html"
}

type site struct {
	docs       string
	repository string
	markdown   goldmark.Markdown
	pages      map[string]*page
	problems   []error
}

func build(docs, out, repository string) error {
	s := &site{
		docs: docs, repository: repository, pages: map[string]*page{},
		markdown: goldmark.New(
			goldmark.WithExtensions(extension.GFM),
			goldmark.WithParserOptions(parser.WithAutoHeadingID()),
			goldmark.WithRendererOptions(html.WithUnsafe()), // The comments that mark what is generated.
		),
	}
	if err := s.read(); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := s.copyImages(out); err != nil {
		return err
	}
	return errors.Join(s.write(out), errors.Join(s.problems...))
}

// read parses every page, so that links can be checked against headings.
func (s *site) read() error {
	return filepath.WalkDir(s.docs, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(file) != ".md" {
			return err
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(s.docs, file)
		if err != nil {
			return err
		}
		p := &page{name: filepath.ToSlash(name), source: source, anchors: map[string]bool{}}
		p.tree = s.markdown.Parser().Parse(text.NewReader(source), parser.WithContext(parser.NewContext(parser.WithIDs(&ids{taken: p.anchors}))))
		_ = ast.Walk(p.tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // Fails only if the function does.
			if heading, is := n.(*ast.Heading); is && entering && p.title == "" {
				p.title = plain(heading, source)
			}
			return ast.WalkContinue, nil
		})
		if p.title == "" {
			s.problems = append(s.problems, fmt.Errorf("%s has no heading", p.name))
		}
		s.pages[p.name] = p
		return nil
	})
}

func (s *site) copyImages(out string) error {
	images := filepath.Join(s.docs, "images")
	if _, err := os.Stat(images); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return os.CopyFS(filepath.Join(out, "images"), os.DirFS(images))
}

func (s *site) write(out string) error {
	tmpl, err := template.New("page").Parse(layout)
	if err != nil {
		return err
	}
	index := s.pages[contents]
	if index == nil {
		return fmt.Errorf("%s has no %s", s.docs, contents)
	}
	for _, p := range s.pages {
		s.resolveLinks(p)
	}
	listed := s.listed(index)
	names := make([]string, 0, len(s.pages))
	for name := range s.pages {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p := s.pages[name]
		if p != index && !listed[p.output()] && path.Dir(name) == "." {
			s.problems = append(s.problems, fmt.Errorf("%s does not list %s", contents, name))
		}
		if err := s.writePage(out, tmpl, index, p); err != nil {
			return err
		}
	}
	return nil
}

// nameInTable is a name in a table, which may be long: it can break after its underscores.
var nameInTable = regexp.MustCompile(`<td><code>[^<]*</code>`)

// listed are the pages that the table of contents leads to.
func (s *site) listed(index *page) map[string]bool {
	found := map[string]bool{}
	_ = ast.Walk(index.tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, is := n.(*ast.Link); is && entering {
			target, _, _ := strings.Cut(string(link.Destination), "#")
			found[target] = true
		}
		return ast.WalkContinue, nil
	})
	return found
}

func (s *site) writePage(out string, tmpl *template.Template, index, p *page) error {
	var body bytes.Buffer
	if err := s.markdown.Renderer().Render(&body, p.source, p.tree); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	// Tables and pictures that are wider than a phone scroll by themselves.
	content := nameInTable.ReplaceAllStringFunc(body.String(), func(name string) string { return strings.ReplaceAll(name, "_", "_<wbr>") })
	content = strings.ReplaceAll(strings.ReplaceAll(content, "<table>", `<div class="wide"><table>`), "</table>", "</table></div>")
	up := strings.Repeat("../", strings.Count(p.name, "/"))
	var written bytes.Buffer
	err := tmpl.Execute(&written, map[string]any{
		"Title": p.title, "Up": up, "Groups": s.navigation(index, p, up),
		"Content": template.HTML(content), //nolint:gosec // The repository's own text.
	})
	if err != nil {
		return err
	}
	file := filepath.Join(out, filepath.FromSlash(p.output()))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, written.Bytes(), 0o644)
}

// group is a heading of the table of contents, and what it lists.
type group struct {
	Title string
	Links []link
}

type link struct {
	Text, URL string
	Here      bool
}

// navigation is the table of contents beside a page: of each line its first link.
func (s *site) navigation(index, here *page, up string) []group {
	var groups []group
	for n := index.tree.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Heading:
			if n.Level == 2 {
				groups = append(groups, group{Title: plain(n, index.source)})
			}
		case *ast.List:
			for item := n.FirstChild(); item != nil && len(groups) > 0; item = item.NextSibling() {
				if first := firstLink(item); first != nil {
					url := string(first.Destination)
					last := &groups[len(groups)-1]
					last.Links = append(last.Links, link{Text: plain(first, index.source), URL: up + url, Here: url == here.output()})
				}
			}
		}
	}
	return groups
}

func firstLink(n ast.Node) (first *ast.Link) {
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if found, is := n.(*ast.Link); is && entering {
			first = found
			return ast.WalkStop, nil
		}
		return ast.WalkContinue, nil
	})
	return first
}

// resolveLinks turns links between Markdown files into links of the site, and notes those that lead nowhere.
func (s *site) resolveLinks(p *page) {
	_ = ast.Walk(p.tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			n.Destination = []byte(s.resolve(p, string(n.Destination)))
		case *ast.Image:
			s.resolve(p, string(n.Destination))
		}
		return ast.WalkContinue, nil
	})
}

func (s *site) resolve(p *page, destination string) string {
	if strings.Contains(destination, "://") || strings.HasPrefix(destination, "mailto:") {
		return destination
	}
	target, anchor, _ := strings.Cut(destination, "#")
	name := p.name
	if target != "" {
		name = path.Join(path.Dir(p.name), target)
	}
	to := s.pages[name]
	switch {
	case to != nil && anchor != "" && !to.anchors[anchor]:
		s.problems = append(s.problems, fmt.Errorf("%s: %s has no heading #%s", p.name, name, anchor))
	case to != nil && target != "":
		return strings.TrimSuffix(relative(p.output(), to.output())+"#"+anchor, "#")
	case to == nil:
		if _, err := os.Stat(filepath.Join(s.docs, filepath.FromSlash(name))); err != nil {
			s.problems = append(s.problems, fmt.Errorf("%s: there is no %s", p.name, destination))
		} else if strings.HasPrefix(name, "../") { // A file of the repository, which the site does not have.
			return s.repository + "/" + strings.TrimPrefix(name, "../")
		}
	}
	return destination
}

func relative(from, to string) string {
	found, err := filepath.Rel(filepath.FromSlash(path.Dir(from)), filepath.FromSlash(to))
	if err != nil {
		return to
	}
	return filepath.ToSlash(found)
}

// plain is the text of a node.
func plain(n ast.Node, source []byte) string {
	var found strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, is := n.(*ast.Text); is && entering {
			found.Write(t.Segment.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return found.String()
}

// ids gives headings the names that GitHub gives them, so that a link works in both places.
type ids struct{ taken map[string]bool }

// Generate implements parser.IDs.
func (i *ids) Generate(value []byte, _ ast.NodeKind) []byte {
	var made strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(string(value))) {
		switch {
		case r == ' ':
			made.WriteByte('-')
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > '~':
			made.WriteRune(r)
		}
	}
	id := made.String()
	for n := 1; i.taken[id]; n++ {
		id = fmt.Sprintf("%s-%d", made.String(), n)
	}
	i.taken[id] = true
	return []byte(id)
}

// Put implements parser.IDs.
func (i *ids) Put(value []byte) { i.taken[string(value)] = true }
