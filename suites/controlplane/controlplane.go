// Package controlplane proves what control planes know of each other.
package controlplane

import (
	"time"

	security "istio.io/api/security/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// CP-01: the status tells of the first synchronization only, so traffic stands beside it.
var RemoteClustersAreSynced = spec.Proves(behaviors.RemoteClustersAreSynced, func(t *spec.T) {
	global, local := t.Service("global", spec.Global), t.Service("local")
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(spec.RemoteClusters(c), AllSynced(c, t.Clusters...))
		t.Expect(c.Client.HTTP(global), AnsweredBy(t.Clusters...))
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
	})
})

// CP-02
var AddingAClusterNeedsNoRestart = spec.Proves(behaviors.AddingAClusterNeedsNoRestart, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	global, local := t.Service("global", spec.Global), t.Service("local")
	secret := t.RemoteSecret(a, b)
	secret.Delete()
	t.Control(a.Client.HTTP(global), AnsweredBy(t.Clusters.Without(b)...))

	across, back, near := a.Client.HTTP(global), b.Client.HTTP(global), a.Client.HTTP(local)
	seen := t.While(spec.Change(secret.String()+" is added", secret.Add), across, back, near)

	t.Control(seen.Of(near), NoneLost())
	t.Control(seen.Of(back), NoneLost())
	t.Expect(seen.Of(across), NoneLost())
	t.Expect(across, AnsweredBy(t.Clusters...))
	t.Expect(spec.RemoteClusters(a), AllSynced(a, t.Clusters...))
})

// CP-03
var DeletingTheSecretWithdrawsTheCluster = spec.Proves(behaviors.DeletingTheSecretWithdrawsTheCluster, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	global, local := t.Service("global", spec.Global), t.Service("local")
	across, back, near := a.Client.HTTP(global), b.Client.HTTP(global), a.Client.HTTP(local)
	secret := t.RemoteSecret(a, b)
	t.Control(across, AnsweredBy(t.Clusters...))

	seen := t.While(spec.Change(secret.String()+" is deleted", secret.Delete), across, back, near)

	t.Expect(seen.Of(near), NoneLost())
	t.Expect(seen.Of(back), NoneLost())
	t.Expect(across, AnsweredBy(t.Clusters.Without(b)...))
	t.Expect(back, AnsweredBy(t.Clusters...))
	t.Expect(spec.RemoteClusters(a), ListsNo(b))

	secret.Add()
	t.Control(across, AnsweredBy(t.Clusters...))
})

// CP-04: pods in the other cluster only: where local ones serve too, a lost cluster costs no call.
// The paths with a waypoint and without one lose it separately.
var RotatingCredentialsLosesNothing = spec.Proves(behaviors.RotatingCredentialsLosesNothing, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far := t.DeployEcho("far", spec.Global, spec.OnlyIn(b))
	behind := t.ServiceFor("behind", far, spec.Global, spec.BehindWaypoint)
	across, through, own := a.Client.HTTP(far), a.Client.HTTP(behind), b.Client.HTTP(far)
	t.Given(across, AnsweredBy(b))
	t.Given(through, AnsweredBy(b), ViaOneWaypoint())

	seen := t.While(t.RemoteSecret(a, b).Rotations(3), across, through, own)

	t.Control(seen.Of(own), NoneLost())
	t.Expect(seen.Of(through), NoneLost())
	t.Expect(seen.Of(across), NoneLost())
	t.Expect(spec.RemoteClusters(a), AllSynced(a, t.Clusters...))

	for _, change := range []struct {
		pods int32
		want Matcher
	}{
		{0, EndAs(traffic.Reset, traffic.Refused, traffic.Status)},
		{1, AnsweredBy(b)},
	} {
		t.Scale(b, far, change.pods)
		spec.Each(t, []traffic.Calls{across, through}, func(calls traffic.Calls) { t.Expect(calls, change.want) })
	}
})

// CP-05: whether calls to the other cluster survive it is CP-04's matter, and luck.
var RapidRotations = spec.Proves(behaviors.RapidRotations, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	late, local := t.Service("late"), t.Service("local")
	secret, starts := t.RemoteSecret(a, b), t.IstiodStarts(a)
	near, own, across := a.Client.HTTP(local), b.Client.HTTP(local), a.Client.HTTP(late)
	t.Control(across, AnsweredBy(a))

	seen := t.While(secret.Updates(20, 5*time.Second), near, own)

	t.Control(seen.Of(own), NoneLost())
	t.Expect(seen.Of(near), NoneLost())
	t.Expect(starts, NoneCounted())
	t.Expect(spec.RemoteClusters(a), AllSynced(a, t.Clusters...))
	late.SetGlobal(t.Clusters...)
	t.Expect(t.Gateway(a).Calls(late.Host()), ServedIn(a))
	t.ObserveLook(across)
})

// CP-06: with a wrong token in one cluster, with a dead server in another. Without a secret before,
// nothing of the other cluster is known that could stay.
var BadCredentialsAreReported = spec.Proves(behaviors.BadCredentialsAreReported, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	global, local := t.Service("global", spec.Global), t.Service("local")
	secrets := []*spec.RemoteSecret{t.RemoteSecret(a, b), t.RemoteSecret(b, a)}
	for _, s := range secrets {
		s.Delete()
	}
	spec.Each(t, secrets, func(s *spec.RemoteSecret) {
		t.Control(s.In.Client.HTTP(global), AnsweredBy(t.Clusters.Without(s.Of)...))
	})

	rows := append(t.HTTPFromEach(local), t.HTTPFromEach(global)...)
	seen := t.While(spec.Change("remote secrets cannot work", func() {
		secrets[0].Put(spec.WrongToken)
		secrets[1].Put(spec.DeadServer)
		t.RemoteTimeout(a, b)
	}), rows...)

	for _, row := range rows {
		t.Expect(seen.Of(row), NoneLost())
	}
	spec.Each(t, secrets, func(s *spec.RemoteSecret) { t.Expect(spec.RemoteClusters(s.In), Lists(s.Of, istiod.TimedOut)) })

	for _, s := range secrets {
		s.Add()
	}
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(global), AnsweredBy(t.Clusters...))
		t.Expect(spec.RemoteClusters(c), AllSynced(c, t.Clusters...))
	})
})

// CP-08: that the label is not seen tells that the API server was lost.
var LostAPIServerLeavesTrafficAlone = spec.Proves(behaviors.LostAPIServerLeavesTrafficAlone, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, late := t.DeployEcho("far", spec.Scope("true"), spec.OnlyIn(b)), t.Service("late")
	late.SetGlobal(a)
	across, own, grown := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(late)
	t.Given(across, AnsweredBy(b))

	seen := t.While(t.APIServerCutOff(b, func() {
		late.SetGlobal(b)
		t.Control(grown, AnsweredBy(a))
		t.ObserveLook(spec.RemoteClusters(a))
	}), across, own)

	t.Control(seen.Of(own), NoneLost())
	t.Expect(seen.Of(across), NoneLost())
	t.Expect(grown, AnsweredBy(a, b))
	t.Control(b.Client.HTTP(late), AnsweredBy(a, b))
})

// CP-09
var StartWithoutRemoteAPIServer = spec.Proves(behaviors.StartWithoutRemoteAPIServer, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	t.Given(across, AnsweredBy(b))

	seen := t.While(t.APIServerCutOff(b, func() {
		t.NoError(spec.IstiodRestarts(a).Do(t.Context()))
		t.Control(spec.RemoteClusters(a), Lists(b, istiod.TimedOut))
		t.Expect(t.DeployClient(a, "late").HTTP(local), AnsweredBy(a))
	}), across, own, near)

	t.Control(seen.Of(own), NoneLost())
	t.Expect(seen.Of(near), NoneLost())
	t.Expect(across, AnsweredBy(b))
	t.Expect(spec.RemoteClusters(a), AllSynced(a, t.Clusters...))
	t.ObserveLook(seen.Of(across))
})

// CP-10
var MalformedSecretsAreRefused = spec.Proves(behaviors.MalformedSecretsAreRefused, func(t *spec.T) {
	doNotCount(t, []spec.SecretChange{spec.NoKubeconfig}, []spec.SecretChange{spec.RunsCommand}, []spec.SecretChange{spec.ReadsFile})
})

// CP-11
var OnlyMarkedSecretsCount = spec.Proves(behaviors.OnlyMarkedSecretsCount, func(t *spec.T) {
	doNotCount(t, []spec.SecretChange{spec.WithoutLabel, spec.InOtherNamespace})
})

// doNotCount shows that a cluster is not known by any of these Secrets, and that it is by a right
// one. They are written in turn, those of a row together. The cluster is not known before, so that
// nothing of it could stay.
func doNotCount(t *spec.T, rows ...[]spec.SecretChange) {
	a, b := t.Clusters.Pair()
	global := t.Service("global", spec.Global)
	secret := t.RemoteSecret(a, b)
	secret.Delete()
	t.Given(spec.RemoteClusters(a), ListsNo(b))

	for _, row := range rows {
		for _, bad := range row {
			secret.Put(bad)
		}
		t.Expect(spec.RemoteClusters(a), ListsNo(b))
		t.Expect(a.Client.HTTP(global), AnsweredBy(t.Clusters.Without(b)...))
	}

	secret.Add()
	t.Control(spec.RemoteClusters(a), AllSynced(a, t.Clusters...))
	t.Control(a.Client.HTTP(global), AnsweredBy(t.Clusters...))
}

// CP-12
var OneWaySecrets = spec.Proves(behaviors.OneWaySecrets, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global)
	serve := func(c *spec.Cluster) spec.Clusters {
		if c == a {
			return t.Clusters.Without(b)
		}
		return t.Clusters
	}
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.ClientB.TCP(echo), AnsweredBy(t.Clusters...)) })

	t.RemoteSecret(a, b).Delete()
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.ClientB.TCP(echo), AnsweredBy(serve(c)...)) })

	t.ApplyEverywhere(echo.PodPolicy(security.AuthorizationPolicy_ALLOW, t.Principal(fixture.Client)))
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.ClientB.TCP(echo), EndAs(traffic.Reset))
		t.Expect(c.Client.TCP(echo), AnsweredBy(serve(c)...))
	})
})

// CP-15
var IstiodOutage = spec.Proves(behaviors.IstiodOutage, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	t.Given(across, AnsweredBy(b))

	var late traffic.Calls
	seen := t.While(t.IstiodAbsent(a, func() {
		late = t.DeployClient(a, "late").HTTP(local)
		t.Expect(late, EndAs(traffic.Reset, traffic.TimedOut, traffic.Refused, traffic.NoSuchHost))
	}), across, own, near)

	t.Control(seen.Of(own), NoneLost())
	t.Expect(seen.Of(near), NoneLost())
	t.Expect(seen.Of(across), NoneLost())
	t.Expect(late, AnsweredBy(a))
})

// CP-16
var RestartKeepsRemoteEndpoints = spec.Proves(behaviors.RestartKeepsRemoteEndpoints, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	t.Given(a.Client.HTTP(far), AnsweredBy(b))

	// Pods in the other cluster only: where local ones serve too, a lost cluster costs no call.
	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	seen := t.While(spec.IstiodRestarts(a), across, own, near)

	t.Control(seen.Of(own), NoneLost())
	t.Control(seen.Of(near), NoneLost())
	t.Expect(seen.Of(across), NoneLost())
	t.Expect(spec.RemoteClusters(a), AllSynced(a, t.Clusters...))
})

// CP-22: rotated in one cluster and deleted in another. The policy names both modes, so that the
// mesh's own does not matter.
var LocalPolicyFollowsRemoteSecrets = spec.Proves(behaviors.LocalPolicyFollowsRemoteSecrets, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	both, echo := spec.Clusters{a, b}, t.DeployEcho("echo")
	follows := func(judge spec.Judge) {
		for _, to := range []struct {
			mode security.PeerAuthentication_MutualTLS_Mode
			be   func(*spec.Cluster) Matcher
		}{
			{security.PeerAuthentication_MutualTLS_STRICT, func(*spec.Cluster) Matcher { return EndAs(traffic.Reset) }},
			{security.PeerAuthentication_MutualTLS_PERMISSIVE, func(c *spec.Cluster) Matcher { return AnsweredBy(c) }},
		} {
			t.Apply(both, echo.PodMutualTLS(to.mode))
			t.Each(both, func(c *spec.Cluster) {
				judge(c.Plain.HTTP(echo), to.be(c))
				t.Control(c.Client.HTTP(echo), AnsweredBy(c))
			})
		}
	}
	follows(t.Control)

	t.RemoteSecret(a, b).Rotate()
	t.RemoteSecret(b, a).Delete()

	follows(t.Expect)
})

// CP-23: ten times, since it depends on which of two threads of istiod is first.
var RemovingAnUnreachableCluster = spec.Proves(behaviors.RemovingAnUnreachableCluster, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	across, secret := a.Client.HTTP(t.Service("global", spec.Global)), t.RemoteSecret(a, b)
	t.Given(across, AnsweredBy(t.Clusters...))
	secret.Delete()
	t.Control(across, AnsweredBy(t.Clusters.Without(b)...))
	secret.Add()
	t.Control(across, AnsweredBy(t.Clusters...))
	secret.Delete()

	for range 10 {
		secret.Put(spec.DeadServer)
		secret.Delete()
	}

	secret.Add()
	t.Expect(across, AnsweredBy(t.Clusters...))
	t.Expect(spec.RemoteClusters(a), AllSynced(a, t.Clusters...))
})
