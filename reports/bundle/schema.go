package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/text"
)

var compiledSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(v1alpha2.Schema()))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("report.schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("report.schema.json")
})

// validate holds a report against its schema.
func validate(js []byte) error {
	s, err := compiledSchema()
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(js))
	if err != nil {
		return errors.New("the report cannot be read as JSON")
	}
	var invalid *jsonschema.ValidationError
	switch err := s.Validate(v); {
	case errors.As(err, &invalid):
		for len(invalid.Causes) > 0 { // the innermost first cause names the place
			invalid = invalid.Causes[0]
		}
		says := invalid.ErrorKind.LocalizedString(message.NewPrinter(language.English))
		return errors.New(text.Line(fmt.Sprintf("at /%s: %s", strings.Join(invalid.InstanceLocation, "/"), says), 300))
	case err != nil:
		return err
	}
	return nil
}
