package engine

// Fuel ends chains of causes, in depth and in breadth. An event from outside brings a budget of runs; a run takes one for itself, and what it starts
// shares what is left. A run that there is nothing left for fails, and starts nothing.
//
// What a run starts, it starts by its end - the triggers whose filters take it, those that its destinations name, and whatever comes back from a sink -
// by its subruns, which take theirs as they begin, and by its calls: a completion meets the filters too, and a function publishes what it likes. Nobody knows how many those will be, so one part of
// fuelParts is put aside for each of them, and its number says so.

// fuelParts: this part of a run's fuel is what an event brings that one of its calls has caused; the end shares the rest.
const fuelParts = 8

// sinkWeight: a trigger that is started gets so many times what a sink gets, from which most events never come back.
const sinkWeight = 8

// fuel gives a run what its chain has left.
func (s *State) fuel(r *run, f *StartFact) {
	r.fuel = max(s.limits.Fuel-max(f.Spent, 0), 0)
	r.next = firstNumber(r.fuel, s.limits.Fuel)
}

// left is what the end of a run has for all that it starts.
func (r *run) left() int { return max(r.fuel-1-r.fuel/fuelParts-r.rare().subs, 0) }

// subrunParts: a subrun of a run that another has started gets this part of what that one has, or one.
const subrunParts = 32

// toSubrun takes the fuel of a subrun, 0 when nothing is left for one. How many subruns a run from outside has is what its document says, and each brings a
// whole chain's fuel but one; those of all others share what theirs have: a trigger that starts itself ends, however wide it is.
func (s *State) toSubrun(r *run) int {
	if r.fuel >= s.limits.Fuel {
		return s.limits.Fuel - 1
	}
	left := max(r.fuel-1-r.rare().subs, 0)
	part := min(max(left/subrunParts, 1), left)
	if part > 0 {
		r.own().subs += part
	}
	return part
}

// share divides what is left among the destinations and the runs that the filters let the end start, and returns the part of the latter.
func (r *run) share(due []*Invocation, matched int) int {
	inside := matched
	for _, inv := range due {
		if inv.ToTrigger != "" {
			inside++
		}
	}
	sinks, left := len(due)-inside+matched, r.left()
	forSinks := left
	if inside > 0 {
		forSinks = left * sinks / (sinks + sinkWeight*inside)
	}
	forMatched, in, out := left-forSinks, matched, 0
	for _, inv := range due {
		if inv.ToTrigger == "" {
			inv.Fuel = Share(forSinks, sinks, out)
			out++
			continue
		}
		inv.Fuel = Share(left-forSinks, inside, in)
		forMatched -= inv.Fuel
		in++
	}
	return forMatched
}

// Share is part i of what n share: all parts together are the whole.
func Share(whole, n, i int) int {
	part := whole / n
	if i < whole%n {
		part++
	}
	return part
}

// The number of an invocation says in its upper bits how far its run is down its chain, so that an event which names it as its cause brings the part that
// was put aside for it, whoever sends it: a function knows nothing of fuel. Only the runs of a chain have such numbers.
const depthAt = 30

// firstNumber is what the numbers of a run with so much fuel begin behind.
func firstNumber(fuel, full int) uint32 {
	depth := uint32(0)
	for part := full; part > fuel && depth < 1<<(32-depthAt)-1; part /= fuelParts {
		depth++
	}
	return depth << depthAt
}

// FuelBehind is the fuel that an event brings which invocation n has caused.
func FuelBehind(n uint32, full int) int {
	for range n>>depthAt + 1 {
		full /= fuelParts
	}
	return full
}
