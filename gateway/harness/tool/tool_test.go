package tool_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"egov-gateway/gateway/harness/tool"
)

// A witness is a test that notes how it ended.
type witness struct {
	testing.TB
	ended string
}

func (w *witness) Helper() {}

func (w *witness) Fatalf(format string, args ...any) { w.end("fails: ", format, args) }
func (w *witness) Skipf(format string, args ...any)  { w.end("is skipped: ", format, args) }

func (w *witness) end(how, format string, args []any) {
	w.ended = how + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestWhatAMachineLacks(t *testing.T) {
	tests := []struct {
		name, ci, program string
		want              string // how the test ends, "" for not at all
	}{
		{"a program that is there", "true", "sh", ""},
		{"a program that is missing, in CI", "true", "no-such-program", "fails: no-such-program is missing: apt-get install no-such-package"},
		{"a program that is missing, where somebody develops", "", "no-such-program", "is skipped: SKIPPED: no-such-program is missing: apt-get install no-such-package"},
		{"CI that is switched off", "false", "no-such-program", "is skipped: SKIPPED: no-such-program is missing: apt-get install no-such-package"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			w, path, done := &witness{TB: t}, "", make(chan struct{})
			go func() {
				defer close(done)
				path = tool.Path(w, tt.program, "no-such-package")
			}()
			<-done
			if w.ended != tt.want || (path != "") != (tt.want == "") {
				t.Errorf("it %q at %q, want %q", w.ended, path, tt.want)
			}
		})
	}
}

// mayskip are the reasons for which a test may be left out even in CI: it is a long one and -short was asked
// for, or it measures what the race detector changes.
var maySkip = regexp.MustCompile(`^(testing\.Short\(\)|race\w*|growth\.RaceDetector)$|testing\.Short\(\) \|\||\|\| testing\.Short\(\)|race\.?\w* \|\||\|\| race\w*`)

// outside are the tests of material that is no part of the repository and no tool: the real certificates of
// the National Certification Authority (make test-nca wants all of them run) and SHEP's published contract.
var outside = []string{"cmd/egov-gateway/peer_test.go", "cmd/egov-gateway/shep_test.go", "gateway/revocation/nca_test.go", "gateway/trust/nca_test.go",
	"gateway/verification/nca_test.go", "gateway/xmlsig/gost/nca_test.go", "gateway/xmlsig/nca_test.go"}

// Every test that is left out for want of something says so by this package: none is skipped in CI unseen.
func TestNothingIsSkippedInSilence(t *testing.T) {
	root := "../../.."
	looked, used := 0, map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, root+"/"))
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		looked++
		for _, s := range skips(files, file) {
			used[name] = used[name] || slices.Contains(outside, name)
			if !maySkip.MatchString(s.cond) && !slices.Contains(outside, name) {
				t.Errorf("%s: a test is skipped if %s: say so by tool.Missing, so that it fails in CI", s.at, s.cond)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked < 200 {
		t.Errorf("%d files were looked at", looked)
	}
	for _, name := range outside {
		if !used[name] {
			t.Errorf("%s skips nothing", name)
		}
	}
}

// A skip is a call of Skip, Skipf or SkipNow, and the condition around it.
type skip struct{ at, cond string }

func skips(files *token.FileSet, file *ast.File) (all []skip) {
	var conds []string
	var visit func(ast.Node) bool
	visit = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			var b bytes.Buffer
			printer.Fprint(&b, files, n.Cond) //nolint:errcheck // a buffer takes all
			conds = append(conds, b.String())
			ast.Inspect(n.Body, visit)
			conds = conds[:len(conds)-1]
			if n.Else != nil {
				ast.Inspect(n.Else, visit)
			}
			return false
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Skip" || f.Sel.Name == "Skipf" || f.Sel.Name == "SkipNow") {
				s := skip{files.Position(n.Pos()).String(), "always"}
				if len(conds) > 0 {
					s.cond = conds[len(conds)-1]
				}
				all = append(all, s)
			}
		}
		return true
	}
	ast.Inspect(file, visit)
	return all
}

// The search finds what it is to find.
func TestSkipsAreFound(t *testing.T) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "x_test.go", `package x
func a(t *testing.T) { t.Skip("always") }
func b(t *testing.T) {
	if _, err := exec.LookPath("x"); err != nil {
		if ci { t.Fatal("x") }
		t.Skipf("%s", "x")
	}
	if testing.Short() { t.SkipNow() } else if raceEnabled { t.Skip() }
	t.Run("c", func(t *testing.T) { if found { return }; t.Skip("x") })
}`, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conds []string
	for _, s := range skips(files, file) {
		conds = append(conds, s.cond)
	}
	if want := []string{"always", "err != nil", "testing.Short()", "raceEnabled", "always"}; !slices.Equal(conds, want) {
		t.Errorf("%q, want %q", conds, want)
	}
	for cond, may := range map[string]bool{"testing.Short()": true, "raceEnabled": true, "testing.Short() || raceEnabled": true, "err != nil": false, "always": false, "os.Getuid() != 0": false, "trace == nil": false} {
		if maySkip.MatchString(cond) != may {
			t.Errorf("%s: %t", cond, !may)
		}
	}
}
