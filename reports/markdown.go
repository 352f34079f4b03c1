package reports

import (
	"fmt"
	"html"
	"io"
	"strings"

	"ambient.test/conformance/reports/api/v1alpha2"
)

// Markdown renders a summary for a CI job's page.
func Markdown(w io.Writer, r *v1alpha2.ConformanceReport) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Istio ambient multicluster: %s\n\n", sentence(r))
	fmt.Fprintf(&b, "%s · profile %s, mode %s · Istio %s, Kubernetes %s · %d clusters · run %s of %s\n\n", md(implementation(r)), md(r.Profile), md(string(r.Mode)), md(or(r.Environment.Istio)),
		md(or(r.Environment.Kubernetes)), len(r.Environment.Clusters), md(or(r.RunID)), r.Date.Format("2006-01-02 15:04 MST"))
	for _, s := range r.Environment.StandIns {
		fmt.Fprintf(&b, "> Stand-in for **%s**: %s\n>\n", md(s.Name), md(s.What))
	}
	if r.Failure != "" {
		fmt.Fprintf(&b, "> The run could not go on: %s\n", md(oneLine(r.Failure, 400)))
	}
	b.WriteString("\n| chapter | conformant | non-conformant | unknown | skipped |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, c := range r.Chapters {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", md(chapterName(c.Name)), c.Conformant, c.NonConformant, c.Unknown, c.Skipped)
	}
	fmt.Fprintf(&b, "| **total** | **%d** | **%d** | **%d** | **%d** |\n", r.Summary.Conformant, r.Summary.NonConformant, r.Summary.Unknown, r.Summary.Skipped)
	for _, v := range []v1alpha2.Verdict{v1alpha2.NonConformant, v1alpha2.Unknown} {
		if r.Summary.Of(v) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", v)
		for _, x := range r.Behaviors {
			if x.Verdict == v {
				fmt.Fprintf(&b, "- **%s** %s<br>%s\n", md(x.ID), md(x.Promise), md(oneLine(x.Message, 400)))
			}
		}
	}
	if skips := skipsByClass(r); len(skips) > 0 {
		b.WriteString("\n<details><summary>skipped</summary>\n\n")
		for _, s := range skips {
			fmt.Fprintf(&b, "- %s: ", md(s.Class))
			for i, x := range s.Behaviors {
				if i > 0 {
					b.WriteString(", ")
				}
				b.WriteString(md(x.ID))
			}
			b.WriteByte('\n')
		}
		b.WriteString("\n</details>\n")
	}
	if c := r.Convergence; c != nil {
		fmt.Fprintf(&b, "\nConvergence (%d samples): half within %.2f s, 90 %% within %.2f s, slowest %.2f s.\n", c.Samples, c.P50, c.P90, c.Max)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sentence is the report's result in a few words.
func sentence(r *v1alpha2.ConformanceReport) string {
	ran := r.Summary.Total() - r.Summary.Skipped
	switch {
	case !r.Finished:
		return fmt.Sprintf("not finished, %d of %d behaviors known", ran-r.Summary.Unknown, ran)
	case r.Result == v1alpha2.Success:
		return fmt.Sprintf("conformant, all %d behaviors that ran hold", ran)
	case r.Result == v1alpha2.Failure:
		return fmt.Sprintf("not conformant, %d of %d behaviors are violated", r.Summary.NonConformant, ran)
	case r.Summary.Unknown > 0:
		return fmt.Sprintf("unknown, %d of %d behaviors could not be judged", r.Summary.Unknown, ran)
	case ran == 0:
		return "unknown, nothing ran"
	}
	return fmt.Sprintf("partial, the %d behaviors that ran hold and others were taken out", ran)
}

func implementation(r *v1alpha2.ConformanceReport) string {
	i := r.Implementation
	name := strings.TrimSpace(strings.Join(strings.Fields(i.Organization+" "+i.Project+" "+i.Version), " "))
	if name == "" {
		return "implementation not named"
	}
	return name
}

func or(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

var mdEscape = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "|", `\|`, "#", `\#`, "!", `\!`, "~", `\~`, "@", "@\u200b")

// md makes text from outside harmless in Markdown, HTML in it included; an @ notifies nobody.
func md(s string) string { return html.EscapeString(mdEscape.Replace(oneLine(s, 1000))) }

// skipGroup is one class of skips.
type skipGroup struct {
	Class     string
	Behaviors []v1alpha2.BehaviorResult
}

// skipsByClass groups what was skipped, in the order of their first behaviors.
func skipsByClass(r *v1alpha2.ConformanceReport) []skipGroup {
	groups := []skipGroup{}
	at := map[string]int{}
	for _, x := range r.Behaviors {
		if x.Verdict != v1alpha2.Skipped || x.Skip == nil {
			continue
		}
		i, ok := at[x.Skip.Class]
		if !ok {
			i = len(groups)
			at[x.Skip.Class] = i
			groups = append(groups, skipGroup{Class: x.Skip.Class})
		}
		groups[i].Behaviors = append(groups[i].Behaviors, x)
	}
	return groups
}
