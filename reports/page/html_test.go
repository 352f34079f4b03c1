package page_test

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/internal/example"
	"ambient.test/conformance/reports/page"
	"ambient.test/conformance/reports/summary"
)

func render(t testing.TB, r *v1alpha2.ConformanceReport) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := page.Write(&b, r, page.Beside{ReportSum: "abc123"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPageSaysEverything(t *testing.T) {
	r := example.Rich(t)
	html := string(render(t, r))
	text := strings.NewReplacer("&#39;", "'", "&#34;", `"`, "&gt;", ">", "&lt;", "<", "&amp;", "&", "&#43;", "+").Replace(html)
	for _, want := range []string{
		"Not conformant, 1 of", " core behaviors of the catalog have a spec; ", " of these ", "Not a certificate:",
		"1 behavior was settled only by another attempt", "neighbor drops: 1 of 40 calls", "✓ conformant · flaky",
		" core behaviors did not run (topology: it changes istio-system, which is not ours to change): INST-02, INST-03, ",
		"the run used stand-ins for ztunnel", "The user chose what ran:", "without DNS",
		`class="part stand-in"`, ">v0.1.0 on every node · stand-in<", "172.18.0.100", "isolation proven by 2 probes", // the drawing
		"212 cluster1", "– 3 no answer", "global: echo behind a waypoint", // the matrix
		"expected: answers of cluster1 and cluster2",                                                               // what was seen
		"mark the helloworld service in cluster1 as global",                                                        // quote
		"https://istio.io/latest/docs/ambient/install/multicluster/verify/",                                        // link
		"Calls from each cluster stay local before the label", "M03: scale the east-west gateway of cluster2 to 0", // what is done, mutants
		`href="./evidence/LB-01/calls.txt"`, "profile core, mode conformance", "took 8 min 42 s", "changes showed after",
		"it changes istio-system, which is not ours to change", "taken out by the user: DNS", // skips
		"sha256 sum <code>abc123</code>", "2 probes, all as they must", "2 checks, 1 ok, 1 fixed", `title="sha256:1111`, // folded
		"amc run --fleet fleet.yaml --artifacts again --profile core --exclude DNS --settle 60s --hold 3s --seed 7", // again
		`hint: <code>kubectl --context cluster2`, `<a href="#LB-01">#LB-01</a>`,
		"AMBIENT_ENABLE_MULTI_NETWORK", "sha256:1111", "Docker 20.10.24", "insufficient cpu", "firewall drops: 12 packets that tried to leave",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, b := range r.Behaviors {
		if n := strings.Count(html, fmt.Sprintf(`<details id="%s"`, b.ID)); n != 1 {
			t.Errorf("%s has %d sections", b.ID, n)
		}
	}
	// Self-contained: what is loaded on its own would be one of these.
	if m := regexp.MustCompile(`(?i)<(link|img|iframe|object|embed|base)\b|\bsrc=|@import|url\(|srcset=`).FindString(html); m != "" {
		t.Errorf("the page loads something: %q", m)
	}
}

func TestPageTellsWhatHasNoSpec(t *testing.T) {
	html := string(render(t, example.Rich(t)))
	_, section, found := strings.Cut(html, `<section id="not-automated"`)
	if !found {
		t.Fatal("the page has no section of what has no spec")
	}
	section, _, _ = strings.Cut(section, "</section>")
	for _, b := range behaviors.All() {
		if has, want := strings.Contains(section, "<strong>"+b.ID+"</strong>"), !b.State.Automated; has != want {
			t.Errorf("%s: listed %v, want %v", b.ID, has, want)
		}
	}
}

func TestTone(t *testing.T) {
	rehearsal := v1alpha2.Environment{StandIns: []v1alpha2.StandIn{{Name: "ztunnel", What: "another proxy"}}}
	for name, c := range map[string]struct {
		r    v1alpha2.ConformanceReport
		want string
	}{
		"success":                    {v1alpha2.ConformanceReport{Result: v1alpha2.Success, Finished: true}, "success"},
		"success with stand-ins":     {v1alpha2.ConformanceReport{Result: v1alpha2.Success, Finished: true, Environment: rehearsal}, "partial"},
		"a violation with stand-ins": {v1alpha2.ConformanceReport{Result: v1alpha2.Failure, Finished: true, Environment: rehearsal}, "failure"},
	} {
		t.Run(name, func(t *testing.T) {
			html := string(render(t, &c.r))
			if !strings.Contains(html, `class="verdict tone-`+c.want+`"`) {
				t.Errorf("the head is not in the color of %s", c.want)
			}
			if c.want == "partial" && !strings.Contains(html, "<h1>Conformant with stand-ins, ") {
				t.Error("the headline does not say that stand-ins ran")
			}
			if strings.Contains(html, "What a stand-in cannot show was skipped.") {
				t.Error("the page says that something was skipped, and nothing was")
			}
		})
	}
}

func TestPageOfACertifiedRun(t *testing.T) {
	r := example.Rich(t)
	r.Mode = v1alpha2.ModeCertified
	html := string(render(t, r))
	for _, want := range []string{
		"Certified run: ", "<code>amc verify --certified</code>", "docs/verify-rules.md", "--certified --implementation vendor.yaml",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestPageSaysWhatChanged(t *testing.T) {
	now := example.Rich(t)
	old := example.Rich(t)
	old.RunID, old.Environment.Istio = "earlier", "1.30.0"
	old.Behaviors = slices.Clone(old.Behaviors)
	for i := range old.Behaviors {
		if b := &old.Behaviors[i]; b.Verdict == v1alpha2.NonConformant {
			b.Verdict = v1alpha2.Conformant
		}
	}
	var b bytes.Buffer
	if err := page.Write(&b, now, page.Beside{Since: old}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<a href="#since">`, "Since run earlier of ", "1 broke, ", "<td>broke</td><td>conformant</td><td>non-conformant",
		`<th scope="row">Istio</th><td>1.30.0</td>`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(string(render(t, now)), `id="since"`) {
		t.Error("without an earlier report the page says what changed")
	}
}

func TestManyBehaviorsAreLaidOutInSight(t *testing.T) {
	r := example.Rich(t)
	if strings.Contains(string(render(t, r)), `class="many"`) {
		t.Error("a picture of a whole page of few behaviors would have holes")
	}
	for i := range 500 {
		r.Behaviors = append(r.Behaviors, v1alpha2.BehaviorResult{ID: fmt.Sprintf("X-%d", i), Chapter: "X", Verdict: v1alpha2.Conformant})
	}
	if !strings.Contains(string(render(t, r)), `class="many"`) {
		t.Error("a page of many behaviors is laid out at once")
	}
}

func TestPageTellsKnownViolationsApart(t *testing.T) {
	example.KnowFault(t, "LB-01")
	r := example.Rich(t)
	for i := range r.Behaviors {
		if b := &r.Behaviors[i]; b.ID == "LB-01" {
			b.Verdict, b.Message = v1alpha2.NonConformant, "one cluster answered"
		}
	}
	summary.Fill(r)
	html := string(render(t, r))
	for _, want := range []string{
		`<details id="LB-01" data-verdict="known"`, `<span class="badge known">≠ known</span>`, `<strong>1</strong>known`,
		"finding F-90 of docs/findings.md",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestPageOfALittleReport(t *testing.T) {
	for name, r := range map[string]*v1alpha2.ConformanceReport{
		"nothing": {},
		"a zero": {
			Convergence: &v1alpha2.Convergence{Samples: 1},
			Behaviors:   []v1alpha2.BehaviorResult{{ID: "LB-01", Chapter: "LB", Verdict: v1alpha2.Conformant, ConvergeSeconds: []float64{0}}},
		},
		"negative": {
			Traffic:     []v1alpha2.Traffic{{Answered: []v1alpha2.Answered{{Calls: -3}}, Failed: -1}},
			Convergence: &v1alpha2.Convergence{Samples: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			html := string(render(t, r))
			for _, bad := range []string{"NaN", "Inf"} {
				if strings.Contains(html, bad) {
					t.Errorf("the page holds %s", bad)
				}
			}
			if !strings.Contains(html, "</html>") {
				t.Error("the page is cut off")
			}
		})
	}
}

// fill puts a hostile string into every string of a value, lists of one element where there is
// none.
func fill(v reflect.Value, hostile func() string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile())
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem(), hostile)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		}
		for i := range v.Len() {
			fill(v.Index(i), hostile)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), hostile)
		}
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Int, reflect.Int64:
		v.SetInt(2)
	}
}

// attacks break out of the places values stand in, if anything does.
var attacks = []string{
	`<script>window.pwned=1</script>`, `"><script>window.pwned=1</script>`, `'><img src=x onerror="window.pwned=1">`,
	`</title><script>window.pwned=1</script>`, `</style><script>window.pwned=1</script>`,
	`</script><script>window.pwned=1</script>`, `javascript:window.pwned=1`,
	`" onmouseover="window.pwned=1" autofocus onfocus="window.pwned=1`,
	`<svg onload="window.pwned=1">`, `{{.}}<!--`, "\u2028\u202e<b>x", `]]><script>window.pwned=1</script>`,
	`<details open ontoggle="window.pwned=1">`, `&lt;script&gt;window.pwned=1&lt;/script&gt;`, `https://evil.example/"onclick="window.pwned=1`,
}

func hostileReports() []*v1alpha2.ConformanceReport {
	var all []*v1alpha2.ConformanceReport
	for i := range attacks {
		n := i
		r := &v1alpha2.ConformanceReport{}
		fill(reflect.ValueOf(r).Elem(), func() string { n++; return attacks[n%len(attacks)] })
		// Verdicts and results take the page's several ways; ids of the catalog bring its text in.
		r.Finished = i%2 == 0
		if i%3 == 0 {
			r.Behaviors[0].Verdict, r.Behaviors[1].Verdict = v1alpha2.NonConformant, v1alpha2.Skipped
			r.Behaviors[0].ID, r.Behaviors[0].Promise = "LB-01", behaviors.ByID("LB-01").Promise
			r.Result = v1alpha2.Failure
		}
		all = append(all, r)
	}
	return all
}

func TestPageInChromium(t *testing.T) {
	b := openBrowser(t)
	html := render(t, example.Rich(t))

	t.Run("works", func(t *testing.T) {
		b.t = t
		b.view(1280, 900, "light", "screen")
		b.open(html)
		for _, e := range b.seen().errors { // the policy refuses nothing of the page's own, nothing is loaded, nothing is thrown
			t.Errorf("got %.400s, want no error of the page", e)
		}
		if n := b.seen().requests; n != 1 {
			t.Errorf("%d requests, one is the page", n)
		}
		var shown string
		b.eval(`document.querySelector(".filters output").textContent`, &shown)
		if !strings.HasPrefix(shown, "all ") {
			t.Errorf("the filters say %q", shown)
		}
		b.eval(`(() => {
			const f = document.querySelector(".filters");
			f.elements.text.value = "plaintext";
			f.dispatchEvent(new Event("input"));
			return document.querySelectorAll("details[data-verdict]:not([hidden])").length
		})()`, new(int))
		var left []string
		b.eval(`[...document.querySelectorAll("details[data-verdict]:not([hidden])")].map(d => d.id)`, &left)
		if len(left) > 6 {
			t.Errorf("searching for plaintext leaves %v, want at most six", left)
		}
		if !slices.Contains(left, "GW-01") {
			t.Errorf("searching for plaintext leaves %v, want GW-01 among them", left)
		}
		// A link to a behavior that the filters hide shows it, open.
		var open bool
		b.eval(`(async () => {
			location.hash = "#LB-01";
			await new Promise(r => setTimeout(r, 100));
			const d = document.getElementById("LB-01");
			return d.open && !d.hidden
		})()`, &open)
		if !open {
			t.Error("the section a link points at stays closed or hidden")
		}
	})
	t.Run("copies a command", func(t *testing.T) {
		b.t = t
		b.open(html)
		var got struct{ Command, Selected, Says string }
		b.eval(`(async () => {
			const code = document.querySelector("code.command"), button = code.nextElementSibling;
			button.click();
			await new Promise(r => setTimeout(r, 100));
			let selected = getSelection().toString();
			try { selected ||= await navigator.clipboard.readText(); } catch {}
			return { Command: code.textContent, Selected: selected, Says: button.textContent };
		})()`, &got)
		if got.Says != "Copied" && got.Says != "Selected" {
			t.Errorf("the button says %q, want Copied or Selected", got.Says)
		}
		if got.Says == "Selected" && got.Selected != got.Command {
			t.Errorf("selected %q, want %q", got.Selected, got.Command)
		}
		var names []string
		b.eval(`[...document.querySelectorAll(".copy")].map(b => b.previousElementSibling.textContent).filter(t => !t.includes(" "))`, &names)
		if len(names) > 0 {
			t.Errorf("%q are no commands and have a button", names)
		}
	})
	t.Run("a link that was cut", func(t *testing.T) {
		b.t = t
		b.open(html)
		b.eval(`(async () => { location.hash = "#%E0%A4%A"; await new Promise(r => setTimeout(r, 100)); })()`, nil)
		for _, e := range b.seen().errors {
			t.Errorf("got %.400s, want no error of the page", e)
		}
	})
	t.Run("what scrolls", func(t *testing.T) {
		b.t = t
		b.view(1280, 900, "light", "screen")
		b.open(html)
		var wrong []string
		b.eval(`(() => {
			for (const d of document.querySelectorAll("details")) d.open = true;
			return [
				...[...document.querySelectorAll(".scroll")].filter(s => s.tabIndex !== 0 || !s.ariaLabel)
					.map(s => "the keyboard does not reach " + s.textContent.slice(0, 40)),
				...[...document.querySelectorAll(".scroll")].filter(s => s.scrollWidth > s.clientWidth + 1).map(s => "cut at 1280: " + s.ariaLabel),
			];
		})()`, &wrong)
		for _, w := range wrong {
			t.Error(w)
		}
		b.view(320, 640, "light", "screen")
		var cut []string
		b.eval(`[...document.querySelectorAll(".pair > :not(.all) .scroll")]
			.filter(s => s.scrollWidth > s.clientWidth + 1).map(s => s.ariaLabel)`, &cut)
		if len(cut) > 0 {
			t.Errorf("cut at 320, though a value may break anywhere: %q", cut)
		}
	})
	t.Run("keyboard", func(t *testing.T) {
		b.t = t
		b.open(html)
		b.key("/")
		var at string
		b.eval(`document.activeElement.name`, &at)
		if at != "text" {
			t.Errorf("/ leads to %q, not to the search", at)
		}
		b.eval(`document.querySelector("#GW-01 summary").focus()`, nil)
		b.key(kb.Enter)
		var open bool
		b.eval(`document.getElementById("GW-01").open`, &open)
		if !open {
			t.Error("Enter does not open a section")
		}
		var offset string
		b.eval(`getComputedStyle(document.activeElement).outlineOffset`, &offset)
		if offset != "-3px" { // outside it would be cut off
			t.Errorf("the ring around an open section is drawn at %s", offset)
		}
		b.open(html)
		b.key(kb.Tab)
		b.eval(`document.activeElement.className`, &at)
		if at != "skip-link" {
			t.Errorf("the first stop of the Tab key is %q", at)
		}
	})
	t.Run("screen reader", func(t *testing.T) {
		b.t = t
		b.open(html)
		var wrong []string
		b.eval(`[
			...[...document.querySelectorAll("input,select")].filter(e => !e.labels.length).map(e => "no label: " + e.outerHTML),
			...[...document.querySelectorAll("main section")]
				.filter(s => !document.getElementById(s.getAttribute("aria-labelledby"))).map(s => "no name: " + s.id),
			...[...document.querySelectorAll("svg")]
				.filter(s => !s.closest("[aria-hidden],[role=img]"))
				.map(s => "a picture without a name or a mark that it says nothing: " + s.outerHTML.slice(0, 80)),
			...[...document.querySelectorAll("th")].filter(h => !h.scope).map(h => "no scope: " + h.textContent),
			...[...document.querySelectorAll("h1,h2,h3,h4")]
				.filter((h, i, all) => i && h.tagName[1] > +all[i-1].tagName[1] + 1)
				.map(h => "a level is left out before: " + h.textContent),
			...[...document.querySelectorAll("[id]")]
				.filter(e => document.querySelectorAll("#" + CSS.escape(e.id)).length > 1)
				.map(e => "an id twice: " + e.id),
			...[...document.querySelectorAll('a[href^="#"]')]
				.filter(a => !document.getElementById(a.getAttribute("href").slice(1)))
				.map(a => "a link to nothing: " + a.getAttribute("href")),
		]`, &wrong)
		for _, w := range wrong {
			t.Error(w)
		}
	})
	for _, v := range []struct {
		name          string
		width, height int64
		scheme, media string
	}{
		{"desktop", 1280, 900, "light", "screen"},
		{"dark", 1280, 900, "dark", "screen"},
		{"wide", 1920, 1080, "light", "screen"},
		{"phone", 390, 844, "light", "screen"},
		{"small", 320, 640, "light", "screen"},
		{"phone-dark", 360, 740, "dark", "screen"},
	} {
		t.Run(v.name, func(t *testing.T) {
			b.t = t
			b.view(v.width, v.height, v.scheme, v.media)
			b.open(html)
			// Nothing but what scrolls by itself is wider than the window.
			var wide []string
			b.eval(`document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
				.filter(e => !e.closest(".scroll") && e.getBoundingClientRect().right > innerWidth + 1)
				.map(e => e.tagName + "." + e.className + " " + e.textContent.slice(0, 40))`, &wide)
			if len(wide) > 0 {
				t.Errorf("wider than the window: %.800q", wide)
			}
			var faint []string
			b.eval(contrast, &faint)
			if len(faint) > 0 {
				t.Errorf("hard to read: %.800q", faint)
			}
			b.shot(v.name + ".png")
			var height int64
			b.eval(`(() => {
				document.querySelectorAll("#LB-01, #WP-07").forEach(d => d.open = true);
				return document.documentElement.scrollHeight
			})()`, &height)
			b.view(v.width, height+200, v.scheme, v.media) // what is far below the window is not painted
			b.eval(`new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))`, nil)
			b.shot(v.name + "-whole.png")
		})
	}
	t.Run("paper", func(t *testing.T) {
		b.t = t
		b.view(1280, 900, "dark", "print")
		b.open(html)
		var background string
		b.eval(`getComputedStyle(document.body).backgroundColor`, &background)
		if background != "rgb(255, 255, 255)" {
			t.Errorf("dark paper: %s", background)
		}
		b.print("paper.pdf")
		var open, want []string
		b.eval(`[...document.querySelectorAll("details[data-verdict]")].filter(d => d.open).map(d => d.dataset.verdict)`, &open)
		for _, x := range example.Rich(t).Behaviors {
			if s := x.Standing(); s != v1alpha2.Standing(v1alpha2.Conformant) && s != v1alpha2.Standing(v1alpha2.Skipped) {
				want = append(want, string(s))
			}
		}
		if diff := cmp.Diff(want, open); diff != "" {
			t.Errorf("open on paper (-want +got):\n%s", diff)
		}
	})
}

// contrast finds text whose contrast with its background is below 4.5 (WCAG AA), as far as
// backgrounds are plain colors.
const contrast = `(() => {
	const linear = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
	const lum = c => {
		const [r, g, b] = c.match(/[\d.]+/g).map(Number).slice(0, 3).map(linear);
		return .2126 * r + .7152 * g + .0722 * b;
	};
	const back = e => {
		for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\)$/.test(c)) return c }
		return "rgb(255,255,255)";
	};
	const found = new Set();
	for (const e of document.querySelectorAll("h1,h2,h3,h4,p,a,td,th,li,span,dt,dd,summary,button,label,small,strong,code")) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
		const a = lum(getComputedStyle(e).color), b = lum(back(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) found.add(e.tagName + "." + e.className + " " + ratio.toFixed(2));
	}
	return [...found];
})()`

// Whatever a report holds, nothing of it runs: not with the page's policy, and not without it, by
// escaping alone.
func TestHostileValuesAreText(t *testing.T) {
	b := openBrowser(t)
	b.view(1280, 900, "light", "screen")
	policyTag := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`)
	for i, r := range hostileReports() {
		html := render(t, r)
		bare := policyTag.ReplaceAll(html, nil)
		if len(bare) == len(html) {
			t.Fatal("the page has no policy")
		}
		for name, p := range map[string][]byte{"with the policy": html, "without it": bare} {
			b.open(p)
			var ran struct {
				Pwned         bool
				Scripts, Bold int
				Links         []string
			}
			b.eval(`(async () => {
				for (const d of document.querySelectorAll("details")) d.open = true;
				for (const e of document.querySelectorAll("*")) { e.dispatchEvent(new MouseEvent("mouseover")); if (e.focus) e.focus(); }
				await new Promise(r => setTimeout(r, 20));
				return {Pwned: "pwned" in window, Scripts: document.scripts.length,
					Bold: document.querySelectorAll("b,img,[onmouseover],[onload],[onfocus],[onclick],[ontoggle]").length,
					Links: [...document.querySelectorAll("a")].map(a => a.href).filter(h => !/^(file|https:\/\/(istio\.io|github\.com)\/)/.test(h))};
			})()`, &ran)
			if ran.Pwned {
				t.Errorf("report %d, %s: a script of the report ran", i, name)
			}
			if ran.Scripts != 1 {
				t.Errorf("report %d, %s: %d scripts, want the page's own", i, name, ran.Scripts)
			}
			if ran.Bold > 0 {
				t.Errorf("report %d, %s: %d elements came with the report, want none", i, name, ran.Bold)
			}
			if len(ran.Links) > 0 {
				t.Errorf("report %d, %s: links lead to %v", i, name, ran.Links)
			}
			if n := b.seen().requests; n != 1 {
				t.Errorf("report %d, %s: %d requests", i, name, n)
			}
			if n := b.seen().dialogs; n != 0 {
				t.Errorf("report %d, %s: a dialog opened", i, name)
			}
		}
	}
	// The probe can see: what is not escaped does run without the policy, and the policy alone
	// stops it.
	attack := []byte("<p><script>window.pwned=1</script>")
	html := render(t, example.Rich(t))
	for name, c := range map[string]struct {
		html []byte
		want bool
	}{
		"unescaped, without the policy": {bytes.Replace(policyTag.ReplaceAll(html, nil), []byte("<main>"), attack, 1), true},
		"unescaped, with the policy":    {bytes.Replace(html, []byte("<main>"), attack, 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.open(c.html)
			var pwned bool
			b.eval(`"pwned" in window`, &pwned)
			if pwned != c.want {
				t.Errorf("the script ran: got %v, want %v", pwned, c.want)
			}
		})
	}
}

// bigReport has n behaviors, ten times the catalog of a ninth of it.
func bigReport(t testing.TB, n int) *v1alpha2.ConformanceReport {
	t.Helper()
	r := example.Rich(t)
	some := r.Behaviors
	r.Behaviors = nil
	for i := range n {
		b := some[i%len(some)]
		if i >= len(some) {
			b.ID = fmt.Sprintf("%s-%d", b.Chapter, 100+i)
		}
		r.Behaviors = append(r.Behaviors, b)
	}
	summary.Fill(r)
	return r
}

// BenchmarkPage opens a page of 1,000 behaviors: from the start of the navigation to the first
// frame after loading, and as often as long as an empty page.
func BenchmarkPage(b *testing.B) {
	chrome := openBrowser(b)
	chrome.view(1280, 900, "light", "screen")
	opened := func(html []byte) (ms float64) {
		chrome.open(html)
		chrome.eval(`new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(performance.now()))))`, &ms)
		return ms
	}
	html := render(b, bigReport(b, 1000))
	var full, empty, filtered float64
	for b.Loop() {
		empty = opened([]byte("<!doctype html><title>empty</title>"))
		full = opened(html)
		chrome.eval(`(() => {
			const f = document.querySelector(".filters"), t = performance.now();
			f.elements.text.value = "gateway";
			f.dispatchEvent(new Event("input"));
			document.body.offsetHeight;
			return performance.now() - t
		})()`, &filtered)
	}
	b.ReportMetric(float64(len(html)>>10), "KiB")
	b.ReportMetric(full, "ms/open")
	b.ReportMetric(full/empty, "x-empty-page")
	b.ReportMetric(filtered, "ms/filter")
	b.ReportMetric(0, "ns/op")
}

func TestPageDrawsEvents(t *testing.T) {
	r := example.Rich(t)
	r.Behaviors[0].Events = []v1alpha2.Event{{
		What: "the gateway of cluster2 restarts", BeginSeconds: 1, EndSeconds: 2,
		Rows: []v1alpha2.EventRow{{Calls: "client in <cluster1>", Made: []int{5, 5}, Lost: []int{0, 2}}},
	}}
	html := string(render(t, r))
	for _, want := range []string{
		"The gateway of cluster2 restarts", "client in &lt;cluster1&gt;", "2 of 10 calls failed, to the end", "1 s: 2 of 5 calls failed",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
