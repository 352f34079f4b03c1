// Package progress reports what long work is doing, how far it is and how long it takes.
//
// Code that does the work takes a [Reporter]; who shows it (a terminal, a CI log, nothing) is
// decided in cmd/amc.
package progress

import "time"

// Reporter opens phases. Implementations are safe for concurrent use.
type Reporter interface {
	// Phase opens a phase, such as "images" or "clusters", that will handle the given number of
	// items (0 = not known).
	Phase(name string, items int) Phase
}

// Phase is a stretch of work made of items that may run side by side.
type Phase interface {
	// Item begins one item.
	Item(name string) Item
	// Close ends the phase; err is nil when all of it went well.
	Close(err error)
}

// Estimator is implemented by phases that can estimate the remaining time.
type Estimator interface {
	// Expect announces an item by the name it will begin with, and how long it usually takes; 0 =
	// unknown.
	Expect(name string, usual time.Duration)
}

// Item is one piece of work under way.
type Item interface {
	// Note tells what the item is doing or waiting for.
	Note(format string, args ...any)
	// Done ends the item; err is nil when it went well.
	Done(err error)
}

// Discard is a Reporter that says nothing.
var Discard Reporter = discard{}

type discard struct{}

func (discard) Phase(string, int) Phase { return discard{} }
func (discard) Item(string) Item        { return discard{} }
func (discard) Note(string, ...any)     {}
func (discard) Done(error)              {}
func (discard) Close(error)             {}
