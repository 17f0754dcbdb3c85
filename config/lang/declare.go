package lang

// A Declarer is a policy that tells lint which names the children of a slot see, so that an unknown or a shadowed name is found before anything runs.
type Declarer interface {
	Declare(slot int) Declaration
}

// An OwnDeclarer is a policy that tells lint which names an expression of its own settings sees beside those that its step sees: what it gives to Eval when
// it evaluates that one, all of them and no others. Field is where the expression stands: its keys, joined by dots, without places in lists.
type OwnDeclarer interface {
	DeclareOwn(field string) []string
}

// OwnNames are the names that a policy declares for an expression of its own.
func OwnNames(settings any, field string) []string {
	if d, ok := settings.(OwnDeclarer); ok {
		return d.DeclareOwn(field)
	}
	return nil
}

// A Declaration is what the children of one slot see beyond what their parent sees.
type Declaration struct {
	Names    []string // names that Bind gives
	Siblings []int    // slots seen as steps.NAME; Bind leaves out those that are not done
	Many     bool     // the step may run more than once a frame: its name stands for no single output
}

// A BesideDeclarer is a policy that tells lint which children's outputs an expression of its own sees as steps.NAME: that are given to EvalBeside, if done.
type BesideDeclarer interface {
	DeclareBeside(e Expr) []int
}
