package mesh

// String is the cluster's name.
func (c *Cluster) String() string { return c.Name }
