//go:build race

package router_test

// slower is how much longer all takes in a program that is instrumented.
const slower = 20
