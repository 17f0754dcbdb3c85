package lang

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// encodeTree writes what an expression yielded as JSON: sorted keys, the shortest digits that read back the same (RFC 8785's form of numbers),
// bytes as base64, timestamps by RFC 3339, durations in Go's form. What was decoded and not changed keeps its text.
func encodeTree(v ref.Val) (Value, error) {
	switch v := v.(type) {
	case *object:
		if v.text != "" {
			return Trusted(v.text), nil
		}
	case *array:
		if v.text != "" {
			return Trusted(v.text), nil
		}
	case types.String:
		return Text(string(v)), nil
	}
	b, err := appendTree(nil, v, 0)
	if err != nil {
		return Null, err
	}
	return Trusted(string(b)), nil
}

func tooLarge(bytes int) *CostError {
	return &CostError{fmt.Sprintf("makes a value of %d bytes or more; a value has at most %d", bytes, MaxValueBytes)}
}

func appendTree(b []byte, v ref.Val, depth int) ([]byte, error) {
	if depth > MaxNesting {
		return nil, fmt.Errorf("nested deeper than %d", MaxNesting)
	}
	if len(b) > MaxValueBytes {
		return nil, tooLarge(len(b))
	}
	switch v := v.(type) {
	case *numeral:
		return append(b, v.text...), nil
	case types.Null:
		return append(b, "null"...), nil
	case types.Bool:
		return strconv.AppendBool(b, bool(v)), nil
	case types.Int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case types.Uint:
		return strconv.AppendUint(b, uint64(v), 10), nil
	case types.Double:
		return appendDouble(b, float64(v))
	case types.String:
		return AppendString(b, string(v)), nil
	case types.Bytes:
		return AppendString(b, base64.StdEncoding.EncodeToString(v)), nil
	case types.Timestamp:
		return AppendString(b, v.Time.UTC().Format(time.RFC3339Nano)), nil
	case types.Duration:
		return AppendString(b, v.Duration.String()), nil
	case *types.Optional:
		if !v.HasValue() {
			return append(b, "null"...), nil
		}
		return appendTree(b, v.GetValue(), depth+1)
	case *object:
		return v.append(b, depth)
	case *array:
		if v.text != "" {
			return append(b, v.text...), nil
		}
		return appendList(b, v, depth)
	case traits.Lister:
		return appendList(b, v, depth)
	case traits.Mapper:
		return appendTree(b, sorted(v), depth)
	case *types.Err:
		return nil, v
	}
	if v == nil {
		return nil, errors.New("no value")
	}
	return nil, fmt.Errorf("a %s has no JSON form", v.Type().TypeName())
}

func (o *object) append(b []byte, depth int) ([]byte, error) {
	if o.text != "" {
		return append(b, o.text...), nil
	}
	b = append(b, '{')
	for i, key := range o.keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(AppendString(b, key), ':')
		var err error
		if b, err = appendTree(b, o.val(i), depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendList(b []byte, l traits.Lister, depth int) ([]byte, error) {
	b = append(b, '[')
	n, _ := l.Size().(types.Int)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendTree(b, l.Get(i), depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendDouble(b []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v has no JSON form", f)
	}
	if f == 0 {
		return append(b, '0'), nil
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64), nil
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	// Go writes e-07 where the canonical form has e-7.
	if n := len(b); n >= 4 && b[n-2] == '0' && (b[n-3] == '-' || b[n-3] == '+') {
		b = append(b[:n-2], b[n-1])
	}
	return b, nil
}
