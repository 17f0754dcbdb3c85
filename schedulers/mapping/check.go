package mapping

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// Check reports words and numbers that cannot be, and keys that do not go together.
func (p *Map) Check() []plugin.Problem {
	var out []plugin.Problem
	find := func(what, cure string, path ...string) {
		out = append(out, plugin.Problem{Path: path, What: what, Cure: cure})
	}
	switch p.Results {
	case "list", "count", "none":
	default:
		find(fmt.Sprintf("unknown results %q", p.Results), lang.Nearest(p.Results, []string{"list", "count", "none"}), "results")
	}
	out = append(append(out, schedulers.CheckItems(p.Items, "items")...), schedulers.CheckWindow(p.Window)...)
	if n, known := schedulers.ConstantWidth(p.Items); known && p.Batch == nil {
		out = append(append(out, p.Join.CheckWidth(n)...), p.Speculate.CheckWidth(n)...)
	}
	if p.Batch != nil {
		p.Batch.check(find)
	}
	if p.Tolerate != nil {
		p.Tolerate.check(p.Join, find)
	}
	p.checkGroups(find)
	return out
}

func (b *Batch) check(find func(what, cure string, path ...string)) {
	switch {
	case b.Size < 0 || b.Size > maxSize:
		find(fmt.Sprintf("a batch of %d items", b.Size), fmt.Sprintf("write a size from 1 to %d", maxSize), "batch", "size")
	case b.Bytes < 0 || b.Bytes > lang.MaxValueBytes:
		find(fmt.Sprintf("a batch of %d bytes", b.Bytes), fmt.Sprintf("write from 1 to %d", lang.MaxValueBytes), "batch", "bytes")
	case b.Size == 0 && b.Bytes == 0:
		find("a batch without a bound", "add size: 100, or bytes: 262144", "batch")
	}
	if with, constant := b.With.Const(); constant {
		if n, err := lang.ParseJSONNode([]byte(with.JSON())); err != nil || n.Kind != lang.MapNode || n.Get("items") != nil {
			find(fmt.Sprintf("what stands beside the items of a batch is an object without items, and this is %.80s", with.JSON()), "write with: { key: value }", "batch", "with")
		}
	}
}

func (t *Tolerate) check(j schedulers.Join, find func(what, cure string, path ...string)) {
	switch {
	case t.Count == nil && t.Percent == nil:
		find("it is not said how many failures are tolerated", "add count: 10, or percent: 5; join: settled tolerates all", "tolerate")
	case t.Count != nil && *t.Count < 0:
		find(fmt.Sprintf("a tolerance of %d failures", *t.Count), "write 0 or more", "tolerate", "count")
	case t.Percent != nil && (*t.Percent < 0 || *t.Percent > 100):
		find(fmt.Sprintf("a tolerance of %v percent", *t.Percent), "write from 0 to 100", "tolerate", "percent")
	}
	if j.Word != schedulers.JoinAll {
		find(fmt.Sprintf("tolerate bounds the failures of all items, and the join is %s", j.Word), "leave the join's word out; settled tolerates all", "join")
	}
}

func (p *Map) checkGroups(find func(what, cure string, path ...string)) {
	grouped, reduces := !p.GroupBy.IsZero(), p.Reduce != nil && p.Reduce.Use != ""
	switch {
	case grouped && !reduces:
		find("groups without a step that reduces them", "add reduce: { function: ... }", "groupBy")
	case reduces && !grouped:
		find("a step that reduces groups, and no groups", `add groupBy: "${ item.key }"; what reduces all items is the next step of a sequence`, "reduce")
	case !grouped:
		return
	}
	if _, constant := p.GroupBy.Const(); constant {
		find("a key that is the same for all items", `write groupBy: "${ item.key }"`, "groupBy")
	}
	if p.Batch != nil {
		find("groups of batches", "keep batch or groupBy; a map of batches may stand in a map", "batch")
	}
	if p.Join.Early() {
		find(fmt.Sprintf("a group is reduced when all its items are done, and the join %s does not wait for them", p.Join.MarshalNode()), "write join: all or settled, or tolerate", "join")
	}
	if n, known := schedulers.ConstantWidth(p.Items); known && n > maxGrouped {
		find(fmt.Sprintf("%d items, and with groupBy %d are the most", n, maxGrouped), "put a map into a map", "items")
	}
}

// Schema tells what Check refuses.
func (*Map) Schema() plugin.Schema {
	return plugin.Schema{
		"properties": plugin.Schema{
			"results": plugin.Schema{"enum": []any{"list", "count", "none"}},
			"window":  schedulers.WindowSchema(),
		},
		"dependentRequired": plugin.Schema{"groupBy": []any{"reduce"}, "reduce": []any{"groupBy"}},
	}
}

// Schema tells what Check refuses.
func (*Batch) Schema() plugin.Schema {
	return plugin.Schema{
		"properties": plugin.Schema{"size": plugin.Schema{"minimum": 1, "maximum": maxSize}, "bytes": plugin.Schema{"minimum": 1, "maximum": lang.MaxValueBytes}},
		"anyOf":      []any{plugin.Schema{"required": []any{"size"}}, plugin.Schema{"required": []any{"bytes"}}},
	}
}

// Schema tells what Check refuses.
func (*Tolerate) Schema() plugin.Schema {
	return plugin.Schema{
		"properties": plugin.Schema{"count": plugin.Schema{"minimum": 0}, "percent": plugin.Schema{"minimum": 0, "maximum": 100}},
		"anyOf":      []any{plugin.Schema{"required": []any{"count"}}, plugin.Schema{"required": []any{"percent"}}},
	}
}
