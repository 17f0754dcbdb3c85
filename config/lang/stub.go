package lang

import "github.com/onward-router/onward/config/plugin"

// TEMPORARY signatures; the implementation replaces this file.

type Expr struct{ p *program }
type program struct{}

func ParseExpr(doc Value) (Expr, error)                      { panic("stub") }
func (e Expr) IsZero() bool                                  { return e.p == nil }
func (e Expr) Eval(scope Scope, cache *Cache) (Value, error) { panic("stub") }
func (e Expr) Names() []string                               { panic("stub") }
func (e Expr) Const() (Value, bool)                          { panic("stub") }
func (e Expr) MarshalJSON() ([]byte, error)                  { panic("stub") }
func (e *Expr) UnmarshalJSON(b []byte) error                 { panic("stub") }

type Cache struct{}

func NewCache(bytes int) *Cache                  { return &Cache{} }
func (c *Cache) Element(list Value, i int) Value { panic("stub") }
func (c *Cache) Length(list Value) (int, bool)   { panic("stub") }

func Children(policy any) []*Step { panic("stub") }

func (d *Definition) Canonical() []byte                                 { panic("stub") }
func ParseDefinition(b []byte, r *plugin.Registry) (*Definition, error) { panic("stub") }
