package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/onward-router/onward/config/access"
	"github.com/spf13/cobra"
)

func (p *program) token() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Make tokens for the API, each with a right and perhaps a tenant."}
	c.AddCommand(p.newToken())
	return c
}

// A madeToken is a token with the line by which a router knows it.
type madeToken struct {
	Token  string       `json:"token"`
	Name   string       `json:"name"`
	Right  access.Right `json:"right"`
	Tenant string       `json:"tenant,omitempty"`
	SHA256 string       `json:"sha256"`
	Line   string       `json:"line"`
}

func (p *program) newToken() *cobra.Command {
	var name, right, tenant string
	c := &cobra.Command{
		Use: "new", Short: "Make a random token, and the line of the file of tokens that knows it by its hash.", Args: cobra.NoArgs,
		Long: "New prints a random token and a line for the file of tokens, which has its hash alone: the token itself is shown this once and kept nowhere.\n" +
			"The file goes to serve by the setting auth.tokens, and a running router reads it again at SIGHUP:\n\n" +
			"  tokens:\n" +
			"    dashboard: { right: read, sha256: ... }\n" +
			"    shop-ci: { right: operate, tenant: shop, sha256: ... }\n\n" +
			"Rights: read looks at what there is, operate also starts, steers and mends runs, admin may do all. A token with a tenant sees and steers what is that\n" +
			"tenant's. To renew a token, add the new line beside the old one, hand the token out, and take the old line away.\n" +
			"Instead of sha256 a line may have env: NAME or file: PATH, where the token itself lies. Callers send it as ONWARD_TOKEN, or as Authorization: Bearer TOKEN.",
		Example: "  onward token new --name dashboard\n  onward token new --name shop-ci --right operate --tenant shop\n  onward token new --name root --right admin -o json",
		RunE: func(*cobra.Command, []string) error {
			made := madeToken{Name: name, Tenant: tenant}
			if err := made.Right.UnmarshalText([]byte(right)); err != nil {
				return fmt.Errorf("--right: %w", err)
			}
			for flag, text := range map[string]string{"name": name, "tenant": tenant} {
				if strings.ContainsAny(text, "\"\\\n{}") || flag == "name" && text == "" {
					return fmt.Errorf("--%s %q; write a name of letters and digits", flag, text)
				}
			}
			made.Token, made.SHA256 = access.New()
			of := ""
			if tenant != "" {
				of = fmt.Sprintf(" tenant: %q,", tenant)
			}
			made.Line = fmt.Sprintf("%q: { right: %s,%s sha256: %q }", name, made.Right, of, made.SHA256)
			return p.print(made, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n", made.Token)
				fmt.Fprintf(p.errs, "It is shown this once. In the file of tokens (auth.tokens), below tokens: goes\n  %s\n", made.Line)
			})
		},
	}
	c.Flags().StringVar(&name, "name", "token", "the token's name, for the log and for what is booked to it")
	c.Flags().StringVar(&right, "right", access.Read.String(), "read, operate or admin")
	c.Flags().StringVar(&tenant, "tenant", "", "whose runs and triggers it is for; default: the whole router's")
	completeFlag(c, "right", fixed(access.Rights()...))
	return c
}
