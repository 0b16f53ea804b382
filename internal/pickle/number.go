package pickle

import (
	"math"
	"math/big"
	"reflect"
)

// This file stores scalars in Go variables.

func assignBool(dst reflect.Value, v any) error {
	b, ok := v.(bool)
	if !ok {
		return misfit(v, dst.Type())
	}
	dst.SetBool(b)
	return nil
}

// assignText stores text, also in a Secret. A Secret isn't stored as text that shows itself.
func assignText(dst reflect.Value, v any) error {
	s, ok := asText(v)
	if !ok {
		if _, isStr := v.(str2); isStr {
			return reasonf("bytes that are not UTF-8 do not fit in %v", dst.Type())
		}
		return misfit(v, dst.Type())
	}
	dst.SetString(s)
	return nil
}

func assignBig(dst reflect.Value, v any) error {
	switch v := v.(type) {
	case nil:
		dst.SetZero()
	case int64:
		dst.Set(reflect.ValueOf(big.NewInt(v)))
	default:
		return misfit(v, dst.Type())
	}
	return nil
}

func assignInt(dst reflect.Value, v any) error {
	n, ok := v.(int64)
	if !ok || dst.OverflowInt(n) {
		return misfit(v, dst.Type())
	}
	dst.SetInt(n)
	return nil
}

func assignUint(dst reflect.Value, v any) error {
	var n uint64
	switch v := v.(type) {
	case int64:
		if v < 0 {
			return misfit(v, dst.Type())
		}
		n = uint64(v)
	case *big.Int:
		if !v.IsUint64() {
			return misfit(v, dst.Type())
		}
		n = v.Uint64()
	default:
		return misfit(v, dst.Type())
	}
	if dst.OverflowUint(n) {
		return misfit(v, dst.Type())
	}
	dst.SetUint(n)
	return nil
}

func assignFloat(dst reflect.Value, v any) error {
	f, ok := exactFloat(v)
	if !ok || dst.Kind() == reflect.Float32 && !fitsFloat32(f) {
		return misfit(v, dst.Type())
	}
	dst.SetFloat(f)
	return nil
}

func assignComplex(dst reflect.Value, v any) error {
	c, ok := v.(complex128)
	if !ok {
		var f float64
		if f, ok = exactFloat(v); ok {
			c = complex(f, 0)
		}
	}
	if !ok || dst.Kind() == reflect.Complex64 && !(fitsFloat32(real(c)) && fitsFloat32(imag(c))) {
		return misfit(v, dst.Type())
	}
	dst.SetComplex(c)
	return nil
}

// exactFloat returns the float that a number is equal to.
func exactFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		f := float64(v)
		// 1<<63 as a float is no int64.
		return f, f < math.MaxInt64 && int64(f) == v
	case *big.Int:
		f, accuracy := new(big.Float).SetInt(v).Float64()
		return f, accuracy == big.Exact
	}
	return 0, false
}

func fitsFloat32(f float64) bool { return math.IsNaN(f) || float64(float32(f)) == f }
