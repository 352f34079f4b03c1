// Package progress says what long work is doing: what, how far, how long.
//
// Code that does the work takes a [Reporter]. cmd/amc decides where it shows: a terminal, a CI log,
// nowhere.
package progress

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
