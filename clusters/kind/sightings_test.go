package kind

import (
	"slices"
	"testing"
)

func TestAddPackets(t *testing.T) {
	const listing = `Chain AMC_SEEN (2 references)
    pkts      bytes target     prot opt in     out     source               destination
       3      300            all  --  *      *       0.0.0.0/0            0.0.0.0/0            STRING match  "one" ALGO name bm
      12     1200            all  --  *      *       0.0.0.0/0            0.0.0.0/0            STRING match  "two" ALGO name bm
`
	got := map[string][]int64{}
	for range 2 { // two nodes
		if err := addPackets(got, "c1", listing); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int64{6, 24}; !slices.Equal(got["c1"], want) {
		t.Errorf("got %v, want %v", got["c1"], want)
	}
	for _, wrong := range []string{"", "Chain AMC_SEEN (2 references)\n pkts", "Chain\npkts\nx y"} {
		if err := addPackets(got, "c1", wrong); err == nil {
			t.Errorf("%q: got no error", wrong)
		}
	}
}
