// Package plainyaml reads YAML files that people write: what is text in the Go value comes out as it
// stands in the file. A YAML library reads an unquoted 000747000012 as a number in base eight, 1.10 as
// 1.1 and 1_000 as 1000, and writes that number into the text.
package plainyaml

import (
	"bytes"
	"encoding"
	"errors"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Parse reads a file of one document, with or without a byte order mark. Errors have line and column, as
// the library writes them.
func Parse(data []byte) (*ast.File, error) {
	file, err := parser.ParseBytes(bytes.TrimPrefix(data, []byte("\ufeff")), 0)
	if err != nil {
		return nil, err
	}
	if len(file.Docs) > 1 {
		return nil, errors.New("[1:1] one YAML document is expected, and there are several")
	}
	return file, nil
}

// Decode writes what a parsed file says into the value that v points to. A key that v has no field for is
// an error. Numbers and words like true become text where v wants text; their nodes in file are then text.
func Decode(file *ast.File, v any) error {
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil
	}
	body := keepText(file.Docs[0].Body, reflect.TypeOf(v))
	file.Docs[0].Body = body
	return yaml.NodeToValue(body, v, yaml.Strict())
}

// Unmarshal parses and decodes.
func Unmarshal(data []byte, v any) error {
	file, err := Parse(data)
	if err != nil {
		return err
	}
	return Decode(file, v)
}

var (
	bytesUnmarshaler = reflect.TypeFor[yaml.BytesUnmarshaler]()
	valueUnmarshaler = reflect.TypeFor[yaml.InterfaceUnmarshaler]()
	textUnmarshaler  = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// keepText returns the node with all scalars as text for which t wants text.
func keepText(n ast.Node, t reflect.Type) ast.Node {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	pointer := reflect.PointerTo(t)
	switch {
	case pointer.Implements(bytesUnmarshaler) || pointer.Implements(valueUnmarshaler):
		return n // it reads by itself
	case pointer.Implements(textUnmarshaler) || t.Kind() == reflect.String:
		return asText(n)
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		n.Value = keepText(n.Value, t)
	case *ast.TagNode:
		n.Value = keepText(n.Value, t)
	case *ast.SequenceNode:
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			for i := range n.Values {
				n.Values[i] = keepText(n.Values[i], t.Elem())
			}
		}
	case *ast.MappingNode:
		for _, pair := range n.Values {
			keepPair(pair, t)
		}
	case *ast.MappingValueNode:
		keepPair(n, t)
	}
	return n
}

func keepPair(pair *ast.MappingValueNode, t reflect.Type) {
	switch t.Kind() {
	case reflect.Map:
		if t.Key().Kind() == reflect.String {
			if key, ok := asText(pair.Key).(ast.MapKeyNode); ok {
				pair.Key = key
			}
		}
		pair.Value = keepText(pair.Value, t.Elem())
	case reflect.Struct:
		if pair.Key.Type() == ast.MergeKeyType {
			pair.Value = keepText(pair.Value, t)
			return
		}
		if field := fieldOf(t, pair.Key.GetToken().Value); field != nil {
			pair.Value = keepText(pair.Value, field)
		}
	}
}

// asText makes a scalar that the library took for something else text. Null stays: it says that nothing is there.
func asText(n ast.Node) ast.Node {
	switch n := n.(type) {
	case *ast.AnchorNode:
		n.Value = asText(n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		text := ast.String(n.GetToken())
		if comment := n.GetComment(); comment != nil {
			text.SetComment(comment) //nolint:errcheck // a text takes every comment
		}
		return text
	}
	return n
}

// fieldOf is the type of the struct's field for a key; nil if there is none.
func fieldOf(t reflect.Type, key string) reflect.Type {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case strings.Contains(options, "inline"):
			inner := f.Type
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				if found := fieldOf(inner, key); found != nil {
					return found
				}
			}
		case name == key, name == "" && strings.ToLower(f.Name) == key:
			return f.Type
		}
	}
	return nil
}
