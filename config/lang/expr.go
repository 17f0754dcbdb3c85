package lang

// A Term is what a name stands for in a scope: a Value, or an Object whose members are looked up when asked for.
type Term interface{ term() }

func (Value) term() {}

// A Members is a term with members that are fetched one by one, so that naming one costs nothing for the rest (steps.NAME).
type Members struct {
	Keys func() []string // sorted; asked for only when they are to be listed
	Get  func(key string) (Value, bool)
}

func (Members) term() {}

// A Scope resolves the names of an expression. It must answer the same for the same name for as long as it is used.
type Scope interface {
	Lookup(name string) (Term, bool)
}

// Vars is a small scope: names with values. Later entries of a name hide earlier ones.
type Vars []Var

// A Var is one name with its value.
type Var struct {
	Name  string
	Value Value
}

// Lookup returns the last value of that name.
func (v Vars) Lookup(name string) (Term, bool) {
	for i := len(v) - 1; i >= 0; i-- {
		if v[i].Name == name {
			return v[i].Value, true
		}
	}
	return nil, false
}
