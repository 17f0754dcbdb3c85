//go:build !race

package command

// raced says that the program under test is instrumented; it is not.
const raced = ""
