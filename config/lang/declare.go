package lang

// A Declarer is a policy that tells lint which names the children of a slot see, so that an unknown or a shadowed name is found before anything runs.
type Declarer interface {
	Declare(slot int) Declaration
}

// A Declaration is what the children of one slot see beyond what their parent sees.
type Declaration struct {
	Names    []string // names that Bind gives
	Siblings []int    // slots seen as steps.NAME; Bind leaves out those that are not done
	Many     bool     // the step may run more than once a frame: its name stands for no single output
}
