package command

import (
	"fmt"
	"testing"

	"github.com/onward-router/onward/config"
)

// TestAnswersAreFoundWhateverTheirNumber: of a hundred thousand answers, a call looks at those that may be for it.
func TestAnswersAreFoundWhateverTheirNumber(t *testing.T) {
	t.Parallel()
	const n = 100_000
	var list []config.Answer
	for i := range n {
		list = append(list, config.Answer{Path: fmt.Sprintf("f[%d]", i), Attempt: 1, Times: 1}, config.Answer{Times: 1})
	}
	b, looked := newBook(list), 0
	take := func(path string, attempt int) int {
		for i := range b.candidates(path) {
			if looked++; !b.spent(i) && (list[i].Attempt == 0 || list[i].Attempt == attempt) {
				b.used[i]++
				return i
			}
		}
		return -1
	}
	// One before it in the file that is for all comes first, and one behind it does not.
	for _, x := range []struct {
		path          string
		attempt, want int
	}{{"f[0]", 1, 0}, {"f[2]", 1, 1}, {"f[1]", 1, 2}, {"f[1]", 1, 3}, {"f[3]", 2, 5}} {
		if got := take(x.path, x.attempt); got != x.want {
			t.Errorf("%s, try %d, has answer %d; want %d", x.path, x.attempt, got, x.want)
		}
	}
	for i := range n {
		take(fmt.Sprintf("f[%d]", n-1-i), 1)
	}
	if looked > 4*n {
		t.Errorf("%d calls looked at %d answers", n, looked)
	}
}
