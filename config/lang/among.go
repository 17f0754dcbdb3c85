package lang

import "slices"

// useAmong is the policy that runs one of several named steps.
const useAmong = "among"

// spelledOut is the node of a step. One that names its function or its flow by an expression, among a list of names, becomes what it stands for: the policy
// among, over a step a name. What it says of tries holds for whichever is chosen, in place of what functions say of themselves.
func (d *decoder) spelledOut(n *Node, path []string) *Node {
	list := n.Get(useAmong)
	use := UseFunction
	if n.Get(use) == nil {
		use = UseFlow
	}
	pick := n.Get(use)
	if list == nil || pick == nil || !d.isUse(useAmong) {
		return n
	}
	of := &Node{Kind: MapNode, Pos: list.Pos}
	if list.Kind != ListNode || len(list.Items) == 0 {
		d.find(list, below(path, useAmong), "write "+useAmong+": [a, b]", "%s where names are due", list.describe())
		return n.without(useAmong)
	}
	for _, name := range list.Items {
		step := &Node{Kind: MapNode, Pos: name.Pos, Keys: []Key{{use, name.Pos}}, Items: []*Node{name}}
		for _, key := range []string{"timeout", "heartbeat", "retry", "deadline"} {
			if said := n.Get(key); said != nil {
				step.Keys, step.Items = append(step.Keys, Key{key, said.Pos}), append(step.Items, said)
			}
		}
		if of.Get(name.Text()) != nil {
			d.find(name, below(path, useAmong), "keep one", "%s comes twice", name.describe())
			continue
		}
		of.Keys, of.Items = append(of.Keys, Key{name.Text(), name.Pos}), append(of.Items, step)
	}
	out := n.without(use, useAmong, "timeout", "heartbeat", "retry")
	settings := &Node{Kind: MapNode, Pos: list.Pos, Keys: []Key{{"pick", pick.Pos}, {"of", list.Pos}}, Items: []*Node{pick, of}}
	out.Keys, out.Items = append(out.Keys, Key{useAmong, list.Pos}), append(out.Items, settings)
	return out
}

// without is a mapping less some of its keys.
func (n *Node) without(keys ...string) *Node {
	out := &Node{Kind: MapNode, Pos: n.Pos}
	for i, k := range n.Keys {
		if !slices.Contains(keys, k.Name) {
			out.Keys, out.Items = append(out.Keys, k), append(out.Items, n.Items[i])
		}
	}
	return out
}
