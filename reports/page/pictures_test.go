package page_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// The README's pictures are those of a real run. AMC_PICTURES names its report.html:
//
//	AMC_PICTURES=$PWD/_artifacts/report.html go test ./reports/page -run TestPictures
func TestPictures(t *testing.T) {
	name := os.Getenv("AMC_PICTURES")
	if name == "" {
		t.Skip("AMC_PICTURES does not name a report.html")
	}
	html, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b := openBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		b.view(1280, 900, scheme, "screen")
		b.open(html)
		png := act(b, chromedp.CaptureScreenshot())
		if err := os.WriteFile(filepath.Join("..", "..", "docs", "report-"+scheme+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
