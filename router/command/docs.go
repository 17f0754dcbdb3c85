package command

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/spf13/cobra"
)

func (p *program) docs() *cobra.Command {
	return &cobra.Command{
		Use: "docs [KIND] [NAME] | docs all DIR", Short: "Print the reference of documents: each key with its form, default and an example.", Args: cobra.MaximumNArgs(2),
		Long: "Docs prints the reference page, in markdown, of a policy, a sink or a source that this binary has built in, yours included, or of what all of a kind have:\n" +
			"step, function, trigger, destination, source. The pages are made of what documents decode into. Without arguments it lists them; all writes all of them into a folder.",
		Example: "  onward docs\n  onward docs policy map\n  onward docs step\n  onward docs all reference\n  onward docs -o json sink http",
		RunE: func(_ *cobra.Command, args []string) error {
			pages := config.Reference(p.registry)
			switch {
			case len(args) == 0:
				return p.print(map[string]any{"pages": pages}, func(w io.Writer) {
					fmt.Fprintln(w, "KIND\tNAME\tWHAT IT IS")
					for _, page := range pages {
						fmt.Fprintf(w, "%s\t%s\t%s\n", page.Kind, page.Name, page.Summary)
					}
				})
			case args[0] == "all" && len(args) == 2:
				return p.writePages(pages, args[1])
			}
			page, err := pageOf(pages, args)
			if err != nil {
				return err
			}
			if p.output == "json" {
				return p.json(page)
			}
			_, err = io.WriteString(p.out, page.Markdown())
			return err
		},
	}
}

// pageOf is the page of a kind and name, or of a name alone.
func pageOf(pages []config.Page, args []string) (*config.Page, error) {
	name, kind := args[len(args)-1], ""
	if len(args) > 1 {
		kind = args[0]
	}
	var known []string
	for i, p := range pages {
		if kind == "" || p.Kind == kind {
			if p.Name == name {
				return &pages[i], nil
			}
			known = append(known, p.Name)
		}
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("unknown kind %q; write policy, sink, source or keys", kind)
	}
	return nil, fmt.Errorf("there is no page of %q; %s", name, lang.Nearest(name, known))
}

func (p *program) writePages(pages []config.Page, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := map[string]string{"README.md": config.Contents(pages)}
	for _, page := range pages {
		files[page.File()] = page.Markdown()
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.errs, "%d pages in %s\n", len(files), dir)
	return nil
}
