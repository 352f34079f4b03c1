package mesh

// DefaultDomain is the clusters' DNS domain and the mesh's trust domain unless a fleet says
// otherwise.
const DefaultDomain = "cluster.local"

// String is the cluster's name.
func (c *Cluster) String() string { return c.Name }
