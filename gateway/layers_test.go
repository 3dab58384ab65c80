package gateway_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers says, for every package of the module, which other packages of the module it may
// import. Imports point one way: words ← stages and contracts ← engine, stores, adapters ←
// flow ← cmd. A package that is not listed fails the test: say where it belongs.
var layers = readLayers(`
schemas:
certs-testdata: gateway gateway/trust gateway/identity gateway/revocation gateway/xmlsig/gost
gateway:
gateway/xmlsig/gost:
gateway/trust: gateway gateway/xmlsig/gost
gateway/xmlsig: gateway gateway/trust gateway/xmlsig/gost gateway/xmlsig/pkcs12
gateway/xmlsig/pkcs12: gateway gateway/trust
# Key files for tests, written without the reader's code.
gateway/xmlsig/pkcs12/pkcs12test:
gateway/identity: gateway gateway/trust
gateway/revocation: gateway gateway/trust
gateway/revocation/redisevidence:
gateway/verification: gateway gateway/trust gateway/xmlsig gateway/identity gateway/revocation
# YAML that people write.
gateway/plainyaml:
gateway/passport: gateway gateway/plainyaml gateway/xmlsig
gateway/message: gateway gateway/plainyaml
gateway/diagram: gateway
gateway/route: gateway gateway/passport
gateway/tracing: gateway
gateway/token: gateway
# Who comes in at any door, and how much of it they may take.
gateway/admission: gateway
gateway/upstream: gateway gateway/tracing
gateway/shep: gateway gateway/trust gateway/upstream gateway/xmlsig
gateway/journal: gateway
gateway/journal/journaltest: gateway gateway/journal
gateway/journal/sqlitejournal: gateway gateway/journal gateway/private gateway/sealing
gateway/journal/redisjournal: gateway gateway/journal gateway/private
# A disk that forgets, for tests.
gateway/journal/powerloss:
# What is kept, encrypted: a leaf, standard library only.
gateway/sealing:
gateway/attachment: gateway gateway/private gateway/sealing
gateway/enrich: gateway
gateway/dispatch: gateway gateway/admission gateway/journal gateway/passport gateway/shep gateway/trust gateway/upstream gateway/verification gateway/xmlsig
gateway/intake: gateway gateway/admission gateway/journal gateway/message gateway/passport gateway/route gateway/tracing gateway/trust gateway/verification gateway/xmlsig
gateway/channel: gateway gateway/admission gateway/dispatch gateway/flow gateway/identity gateway/intake gateway/journal gateway/message gateway/passport gateway/pipeline gateway/shep gateway/trust gateway/verification gateway/xmlsig
# Modes of files.
gateway/private:
gateway/browser: gateway gateway/message
gateway/cabinet: gateway gateway/admission gateway/browser gateway/diagram gateway/journal gateway/message gateway/passport gateway/token
gateway/console: gateway gateway/admission gateway/browser gateway/diagram gateway/journal gateway/message gateway/passport gateway/token
gateway/pipeline: gateway gateway/journal
gateway/flow: gateway gateway/dispatch gateway/enrich gateway/journal gateway/passport gateway/pipeline gateway/upstream gateway/xmlsig
gateway/httpserver: gateway/admission
gateway/synthetic: gateway gateway/cabinet gateway/trust gateway/verification gateway/xmlsig
gateway/monitoring:
gateway/harness: gateway/xmlsig
# What a test does where something is missing.
gateway/harness/tool:
# Programs of others, for tests.
gateway/harness/peer:
# What hostile input costs, for tests.
gateway/harness/growth:
# The format of a collection of signed documents; for the commands, never for the service.
gateway/harness/corpus: gateway
gateway/harness/replay: gateway gateway/harness/corpus gateway/shep
gateway/harness/mint: gateway gateway/harness gateway/harness/corpus gateway/xmlsig certs-testdata
adapters/register: gateway gateway/shep gateway/tracing gateway/trust gateway/upstream gateway/xmlsig
adapters/gbdfl: gateway gateway/shep gateway/xmlsig adapters/register
adapters/gbdrn: gateway gateway/shep gateway/xmlsig adapters/register
adapters/socialpayments: gateway gateway/shep gateway/xmlsig adapters/register
adapters/income: gateway gateway/shep gateway/xmlsig adapters/register
adapters/alimony: gateway gateway/shep gateway/xmlsig adapters/register
adapters/employment: gateway gateway/shep gateway/xmlsig adapters/register
# The outside world shares nothing with the gateway but the contracts.
adapters/statesim: schemas
# The same for measurements: quick, and it checks nothing.
adapters/loadsim: adapters/statesim
adapters/statesim/testworld: schemas certs-testdata adapters/statesim
cmd/egov-statesim: schemas certs-testdata adapters/statesim adapters/statesim/testworld
# cmd/egov-gateway wires everything and may import everything but other commands.
cmd/egov-gateway: *
`)

// readLayers takes a line for each package: its name, a colon, what it may import; * is everything.
func readLayers(text string) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, may, _ := strings.Cut(line, ":")
		if all[name] = strings.Fields(may); strings.TrimSpace(may) == "*" {
			all[name] = nil
		}
	}
	return all
}

const module = "egov-gateway/"

func TestImportsPointOneWay(t *testing.T) {
	root := ".."
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		// Test files may reach further: they bring peers and fixtures together.
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		pkg, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg = filepath.ToSlash(pkg)
		allowed, known := layers[pkg]
		if !known {
			t.Errorf("%s: the package has no place in the layers", pkg)
			return nil
		}
		seen[pkg] = true
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			if pkg == "gateway" && strings.Contains(strings.SplitN(name, "/", 2)[0], ".") {
				t.Errorf("%s imports %s: the words of the field need the standard library only", path, name)
			}
			target, ours := strings.CutPrefix(name, module)
			switch {
			case !ours:
			case pkg == "cmd/egov-gateway":
				if strings.HasPrefix(target, "cmd/") {
					t.Errorf("%s imports %s", path, target)
				}
			case !slices.Contains(allowed, target):
				t.Errorf("%s imports %s, which its layer does not allow", path, target)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layers {
		if !seen[pkg] {
			t.Errorf("%s is in the layers but not in the tree", pkg)
		}
	}
}

// Below the wiring nothing imports an adapter, and no page runs a step.
func TestLayersAreConsistent(t *testing.T) {
	for pkg, allowed := range layers {
		for _, target := range allowed {
			if _, ok := layers[target]; !ok {
				t.Errorf("%s may import %s, which does not exist", pkg, target)
			}
			if strings.HasPrefix(pkg, "gateway/") && strings.HasPrefix(target, "adapters/") {
				t.Errorf("%s may import %s: the gateway never imports adapters", pkg, target)
			}
			if (pkg == "gateway/cabinet" || pkg == "gateway/console") && (target == "gateway/flow" || target == "gateway/pipeline" || target == "gateway/dispatch") {
				t.Errorf("%s may import %s: a page never runs a step", pkg, target)
			}
		}
	}
	if cycle := findCycle(); cycle != "" {
		t.Errorf("the layers have a cycle through %s", cycle)
	}
}

func findCycle() string {
	state := map[string]int{}
	var visit func(string) bool
	visit = func(p string) bool {
		if state[p] == 1 {
			return true
		}
		if state[p] == 2 {
			return false
		}
		state[p] = 1
		for _, q := range layers[p] {
			if visit(q) {
				return true
			}
		}
		state[p] = 2
		return false
	}
	for p := range layers {
		if visit(p) {
			return p
		}
	}
	return ""
}
