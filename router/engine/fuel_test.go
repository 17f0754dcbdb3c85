package engine

import "testing"

// TestFuelIsShared: whatever shares a run's fuel, all parts together - with the run itself and what is put aside for a call - are no more than it.
func TestFuelIsShared(t *testing.T) {
	t.Parallel()
	full := LimitsOf(2).Fuel
	for fuel := range full + 1 {
		r := &run{fuel: fuel}
		call := FuelBehind(firstNumber(fuel, full)+1, full)
		if fuel > 0 && 1+call+r.left() > fuel {
			t.Fatalf("of %d, the end has %d and a call %d", fuel, r.left(), call)
		}
		if call*fuelParts > fuel || fuel == full && call != full/fuelParts {
			t.Fatalf("of %d, a call brings %d", fuel, call)
		}
		for matched := range 4 {
			for mask := range 1 << 4 {
				var due []*Invocation
				for i := range 4 {
					if mask>>i&1 == 1 {
						due = append(due, &Invocation{ToTrigger: []string{"", "t"}[i%2]})
					}
				}
				sum := r.share(due, matched)
				if matched == 0 && sum != 0 {
					t.Fatalf("of %d, %d are for the filters, which let nothing through: %04b", fuel, sum, mask)
				}
				for _, inv := range due {
					if inv.Fuel < 0 || fuel == full && inv.Fuel == 0 {
						t.Fatalf("of %d, a destination has %d", fuel, inv.Fuel)
					}
					sum += inv.Fuel
				}
				if sum > r.left() || matched+len(due) > 0 && sum < r.left() {
					t.Fatalf("of %d, %d are shared of %d", fuel, sum, r.left())
				}
			}
		}
	}
}

// TestSubrunsShareFuel: a run from outside has as many subruns as it likes, each with a whole chain's fuel but its own run. All subruns of any other run, and
// what its end has, are together no more than that one had.
func TestSubrunsShareFuel(t *testing.T) {
	t.Parallel()
	s := &State{limits: LimitsOf(2)}
	outside := &run{fuel: s.limits.Fuel}
	for range 3 * s.limits.Fuel {
		if got := s.toSubrun(outside); got != s.limits.Fuel-1 {
			t.Fatalf("a subrun has %d", got)
		}
	}
	for fuel := range s.limits.Fuel {
		r, sum, n := &run{fuel: fuel}, 0, 0
		for part := s.toSubrun(r); part > 0; part = s.toSubrun(r) {
			if sum, n = sum+part, n+1; fuel > 0 && 1+sum+r.left() > fuel {
				t.Fatalf("of %d, %d subruns have %d, and the end %d", fuel, n, sum, r.left())
			}
		}
		if sum != max(fuel-1, 0) || n < min(fuel-1, 32) {
			t.Fatalf("of %d, %d subruns have %d", fuel, n, sum)
		}
	}
}
