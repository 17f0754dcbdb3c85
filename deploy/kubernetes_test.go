package deploy_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// What of KEDA's kinds the manifests use; a field beyond is refused, so that it is looked up before it is added.
type (
	scaledObject struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			ScaleTargetRef  struct{ APIVersion, Kind, Name string } `json:"scaleTargetRef"`
			MinReplicaCount *int32                                  `json:"minReplicaCount"`
			MaxReplicaCount *int32                                  `json:"maxReplicaCount"`
			PollingInterval *int32                                  `json:"pollingInterval"`
			CooldownPeriod  *int32                                  `json:"cooldownPeriod"`
			Advanced        struct {
				HorizontalPodAutoscalerConfig struct {
					Behavior struct {
						ScaleDown struct {
							StabilizationWindowSeconds int32 `json:"stabilizationWindowSeconds"`
							Policies                   []struct {
								Type                 string `json:"type"`
								Value, PeriodSeconds int32
							} `json:"policies"`
						} `json:"scaleDown"`
					} `json:"behavior"`
				} `json:"horizontalPodAutoscalerConfig"`
			} `json:"advanced"`
			Triggers []struct {
				Type     string `json:"type"`
				Metadata struct {
					BootstrapServers           string `json:"bootstrapServers"`
					ConsumerGroup              string `json:"consumerGroup"`
					Topic                      string `json:"topic"`
					LagThreshold               string `json:"lagThreshold"`
					ActivationLagThreshold     string `json:"activationLagThreshold"`
					OffsetResetPolicy          string `json:"offsetResetPolicy"`
					AllowIdleConsumers         string `json:"allowIdleConsumers"`
					ScaleToZeroOnInvalidOffset string `json:"scaleToZeroOnInvalidOffset"`
					SASL                       string `json:"sasl"`
				} `json:"metadata"`
				AuthenticationRef struct {
					Name string `json:"name"`
				} `json:"authenticationRef"`
			} `json:"triggers"`
		} `json:"spec"`
	}
	triggerAuthentication struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			SecretTargetRef []struct{ Parameter, Name, Key string } `json:"secretTargetRef"`
		} `json:"spec"`
	}
	kustomization struct {
		meta.TypeMeta `json:",inline"`
		Namespace     string                          `json:"namespace"`
		Resources     []string                        `json:"resources"`
		Images        []struct{ Name, NewTag string } `json:"images"`
		Patches       []struct {
			Path   string                      `json:"path"`
			Target struct{ Kind, Name string } `json:"target"`
			Patch  string                      `json:"patch"`
		} `json:"patches"`
	}
)

// A manifest is all of one folder.
type manifest struct {
	kustomization   kustomization
	namespaces      []core.Namespace
	configs         map[string]core.ConfigMap
	job             batch.Job
	set             apps.StatefulSet
	services        map[string]core.Service
	disruption      policy.PodDisruptionBudget
	network         networking.NetworkPolicy
	scaled          scaledObject
	authentications map[string]triggerAuthentication
}

// read decodes every object of a folder strictly: a field that its kind does not have, or one that stands twice, is an error.
func read(t *testing.T, dir string) *manifest {
	t.Helper()
	m := &manifest{configs: make(map[string]core.ConfigMap), services: make(map[string]core.Service), authentications: make(map[string]triggerAuthentication)}
	files, err := filepath.Glob(dir + "/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(string(b), "\n---\n") {
			var kind meta.TypeMeta
			if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if err := m.decode(kind, []byte(text)); err != nil {
				t.Errorf("%s: %s: %v", file, kind.Kind, err)
			}
		}
		if name := filepath.Base(file); name != "kustomization.yaml" && !m.lists(t, dir, name) {
			t.Errorf("%s is in no kustomization", file)
		}
	}
	return m
}

func (m *manifest) lists(t *testing.T, dir, name string) bool {
	t.Helper()
	var k kustomization
	b, err := os.ReadFile(dir + "/kustomization.yaml")
	if err == nil {
		err = yaml.UnmarshalStrict(b, &k)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range k.Patches {
		if p.Path == name {
			return true
		}
	}
	return slices.Contains(k.Resources, name)
}

func (m *manifest) decode(kind meta.TypeMeta, b []byte) error {
	switch kind.APIVersion + " " + kind.Kind {
	case "kustomize.config.k8s.io/v1beta1 Kustomization":
		return yaml.UnmarshalStrict(b, &m.kustomization)
	case "v1 Namespace":
		m.namespaces = append(m.namespaces, core.Namespace{})
		return yaml.UnmarshalStrict(b, &m.namespaces[len(m.namespaces)-1])
	case "v1 ConfigMap":
		return named(b, m.configs, func(c *core.ConfigMap) string { return c.Name })
	case "v1 Service":
		return named(b, m.services, func(s *core.Service) string { return s.Name })
	case "batch/v1 Job":
		return yaml.UnmarshalStrict(b, &m.job)
	case "apps/v1 StatefulSet":
		return yaml.UnmarshalStrict(b, &m.set)
	case "policy/v1 PodDisruptionBudget":
		return yaml.UnmarshalStrict(b, &m.disruption)
	case "networking.k8s.io/v1 NetworkPolicy":
		return yaml.UnmarshalStrict(b, &m.network)
	case "keda.sh/v1alpha1 ScaledObject":
		return yaml.UnmarshalStrict(b, &m.scaled)
	case "keda.sh/v1alpha1 TriggerAuthentication":
		return named(b, m.authentications, func(a *triggerAuthentication) string { return a.Name })
	}
	return &os.PathError{Op: "decode", Path: kind.APIVersion + " " + kind.Kind, Err: os.ErrInvalid}
}

func named[T any](b []byte, into map[string]T, name func(*T) string) error {
	var x T
	err := yaml.UnmarshalStrict(b, &x)
	into[name(&x)] = x
	return err
}

// environment is what the router's container sees.
func (m *manifest) environment(t *testing.T, c core.Container) map[string]string {
	t.Helper()
	env := imageEnv(t)
	for _, from := range c.EnvFrom {
		config, ok := m.configs[from.ConfigMapRef.Name]
		if !ok {
			t.Errorf("container %s: there is no ConfigMap %q", c.Name, from.ConfigMapRef.Name)
		}
		env = merged(env, config.Data)
	}
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			value = map[string]string{"metadata.name": m.set.Name + "-0", "metadata.namespace": m.kustomization.Namespace}[e.ValueFrom.FieldRef.FieldPath]
		}
		for k, v := range env { // Kubernetes replaces what stands before.
			value = strings.ReplaceAll(value, "$("+k+")", v)
		}
		env[e.Name] = value
	}
	return env
}

func TestKubernetesSettingsAndCommands(t *testing.T) {
	t.Parallel()
	m := read(t, "kubernetes/base")
	router, init := m.set.Spec.Template.Spec.Containers[0], m.job.Spec.Template.Spec.Containers[0]
	env := m.environment(t, router)
	checkSettings(t, "router", env)
	checkSettings(t, "init", m.environment(t, init))
	checkCommand(t, "router", router.Args)
	checkCommand(t, "init", init.Args)
	same(t, "advertise", env["ONWARD_ADVERTISE"], "onward-0.onward-routers.onward.svc:8080")
	same(t, "journal", env["ONWARD_JOURNAL"], "kafka")
	same(t, "images", init.Image, router.Image)
	same(t, "the image of the kustomization", m.kustomization.Images[0].Name, router.Image)
	same(t, "the port", router.Ports[0].ContainerPort, number(t, port(env["ONWARD_LISTEN"])))
	same(t, "the port told to the others", port(env["ONWARD_ADVERTISE"]), port(env["ONWARD_LISTEN"]))

	// Folders of the settings are mounted, and files lie in mounted secrets.
	mounted := make(map[string]string)
	for _, v := range router.VolumeMounts {
		mounted[v.MountPath] = v.Name
	}
	same(t, "the volume of data", mounted[env["ONWARD_DATA"]], m.set.Spec.VolumeClaimTemplates[0].Name)
	for _, key := range []string{"ONWARD_AUTH_FILE", "ONWARD_KAFKA_SASL_PASSWORD_FILE"} {
		same(t, "the volume of "+key, mounted[filepath.Dir(env[key])], "secret")
	}
	same(t, "the folder of init's secret", init.VolumeMounts[0].MountPath, filepath.Dir(env["ONWARD_KAFKA_SASL_PASSWORD_FILE"]))
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{filepath.Base(env["ONWARD_AUTH_FILE"]), filepath.Base(env["ONWARD_KAFKA_SASL_PASSWORD_FILE"])} {
		if !strings.Contains(string(readme), "--from-literal="+key+"=") {
			t.Errorf("README.md does not say how the secret's %q is made", key)
		}
	}

	// There is time enough to stop, and memory enough for the collector.
	drain, err := time.ParseDuration(env["ONWARD_DRAIN"])
	if err != nil {
		t.Fatal(err)
	}
	needs := drain + 5*time.Second + time.Duration(router.Lifecycle.PreStop.Sleep.Seconds)*time.Second
	if grace := time.Duration(*m.set.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second; grace < needs+30*time.Second {
		t.Errorf("it is given %s to stop, and takes %s and its snapshots", grace, needs)
	}
	memory := resource.MustParse(strings.TrimSuffix(env["GOMEMLIMIT"], "B"))
	if limit := router.Resources.Limits[core.ResourceMemory]; memory.Cmp(limit) >= 0 || memory.Value() < limit.Value()*3/4 {
		t.Errorf("GOMEMLIMIT is %s, and the limit %s", &memory, &limit)
	}
}

func number(t *testing.T, text string) int32 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

func TestKubernetesObjectsMeet(t *testing.T) {
	t.Parallel()
	m := read(t, "kubernetes/base")
	labels, pod := m.set.Spec.Template.Labels, m.set.Spec.Template.Spec
	meets := func(what string, selector map[string]string) {
		t.Helper()
		for k, v := range selector {
			same(t, what+" selects "+k, labels[k], v)
		}
		if len(selector) == 0 {
			t.Errorf("%s selects everything", what)
		}
	}
	meets("the StatefulSet", m.set.Spec.Selector.MatchLabels)
	meets("the budget", m.disruption.Spec.Selector.MatchLabels)
	meets("the NetworkPolicy", m.network.Spec.PodSelector.MatchLabels)
	meets("its ingress", m.network.Spec.Ingress[0].From[0].PodSelector.MatchLabels)
	for _, c := range pod.TopologySpreadConstraints {
		meets("a spread", c.LabelSelector.MatchLabels)
	}
	for name, s := range m.services {
		meets("Service "+name, s.Spec.Selector)
		same(t, "the target of "+name, s.Spec.Ports[0].TargetPort.String(), pod.Containers[0].Ports[0].Name)
	}
	// The making of the journal takes no requests, and is not to be waited for by a budget.
	if job := m.job.Spec.Template.Labels; job["app.kubernetes.io/component"] == labels["app.kubernetes.io/component"] {
		t.Error("the Job's pod is taken for a router")
	}
	headless := m.services[m.set.Spec.ServiceName]
	if headless.Spec.ClusterIP != core.ClusterIPNone || !headless.Spec.PublishNotReadyAddresses {
		t.Errorf("Service %q gives routers no names of their own", m.set.Spec.ServiceName)
	}
	listen := pod.Containers[0].Ports[0].ContainerPort
	same(t, "the port of the headless Service", headless.Spec.Ports[0].Port, listen)
	same(t, "the port that is let in", int32(m.network.Spec.Ingress[0].Ports[0].Port.IntValue()), listen)
	same(t, "the port among routers", int32(m.network.Spec.Egress[1].Ports[0].Port.IntValue()), listen)
	brokers := m.configs["onward-settings"].Data["ONWARD_KAFKA_BROKERS"]
	same(t, "the port of Kafka", m.network.Spec.Egress[2].Ports[0].Port.String(), port(brokers))
	if ns := m.network.Spec.Egress[2].To[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]; !strings.Contains(brokers, "."+ns+".svc:") {
		t.Errorf("Kafka is at %s, and the way is open to namespace %q", brokers, ns)
	}
	same(t, "namespace", m.namespaces[0].Name, m.kustomization.Namespace)
	volumes := map[string]bool{m.set.Spec.VolumeClaimTemplates[0].Name: true}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && m.configs[v.ConfigMap.Name].Name == "" {
			t.Errorf("there is no ConfigMap %q", v.ConfigMap.Name)
		}
	}
	for _, v := range pod.Containers[0].VolumeMounts {
		if !volumes[v.Name] {
			t.Errorf("there is no volume %q", v.Name)
		}
	}
}

// TestKubernetesHardening: what the namespace's policy restricted asks, and what is ours to ask.
func TestKubernetesHardening(t *testing.T) {
	t.Parallel()
	m := read(t, "kubernetes/base")
	same(t, "the namespace's policy", m.namespaces[0].Labels["pod-security.kubernetes.io/enforce"], "restricted")
	user := stageOf(t, "base").all("USER")[0]
	for name, pod := range map[string]core.PodSpec{"router": m.set.Spec.Template.Spec, "init": m.job.Spec.Template.Spec} {
		s := pod.SecurityContext
		if !*s.RunAsNonRoot || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault || *pod.AutomountServiceAccountToken || *pod.EnableServiceLinks {
			t.Errorf("%s: %+v", name, s)
		}
		same(t, name+": the image's user", strconv.FormatInt(*s.RunAsUser, 10)+":"+strconv.FormatInt(*s.RunAsGroup, 10), user)
		c := pod.Containers[0]
		if x := c.SecurityContext; *x.AllowPrivilegeEscalation || !*x.ReadOnlyRootFilesystem || !slices.Equal(x.Capabilities.Drop, []core.Capability{"ALL"}) {
			t.Errorf("%s: %+v", name, x)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: %+v", name, c.Resources)
		}
		for _, v := range pod.Volumes {
			if v.Secret != nil && *v.Secret.DefaultMode&0o007 != 0 {
				t.Errorf("%s: everybody may read volume %s", name, v.Name)
			}
		}
	}
}

func TestKubernetesProbesAreAnswered(t *testing.T) {
	t.Parallel()
	m := read(t, "kubernetes/base")
	address, _ := serve(t)
	c := m.set.Spec.Template.Spec.Containers[0]
	for name, p := range map[string]*core.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		same(t, name+"'s port", p.HTTPGet.Port.String(), c.Ports[0].Name)
		checkPath(t, name, address, p.HTTPGet.Path)
	}
	same(t, "what tells readiness", c.ReadinessProbe.HTTPGet.Path, "/readyz")
	annotations := m.set.Spec.Template.Annotations
	same(t, "scraped at", annotations["prometheus.io/port"], strconv.Itoa(int(c.Ports[0].ContainerPort)))
	checkPath(t, "Prometheus", address, annotations["prometheus.io/path"])
}

func TestKubernetesDocuments(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"kubernetes/base", "kubernetes/keda"} {
		checkDocuments(t, read(t, dir).configs["onward-documents"].Data)
	}
}

// TestKubernetesMountedDocuments: the command line reads each document once, where a ConfigMap is mounted as the kubelet does it.
func TestKubernetesMountedDocuments(t *testing.T) {
	t.Parallel()
	m := read(t, "kubernetes/base")
	c := m.set.Spec.Template.Spec.Containers[0]
	at := ""
	for _, v := range c.VolumeMounts {
		if v.Name == "documents" {
			at = v.MountPath
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/..2026_01_01", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..2026_01_01", dir+"/..data"); err != nil {
		t.Fatal(err)
	}
	for name, text := range m.configs["onward-documents"].Data {
		if err := os.WriteFile(dir+"/..data/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("..data/"+name, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	var paths []string
	for _, a := range c.Args[1:] {
		rest, ok := strings.CutPrefix(a, at)
		if !ok {
			t.Errorf("%s is not below %s", a, at)
		}
		paths = append(paths, dir+rest)
	}
	set, findings := config.Load(paths, registry(), nil)
	for _, f := range findings {
		t.Error(f)
	}
	if set != nil {
		same(t, "triggers", len(set.Triggers), 1)
	}
}

func TestKubernetesScaling(t *testing.T) {
	t.Parallel()
	base, m := read(t, "kubernetes/base"), read(t, "kubernetes/keda")
	s, env := m.scaled.Spec, base.environment(t, base.set.Spec.Template.Spec.Containers[0])
	same(t, "the target", s.ScaleTargetRef.Kind+" "+s.ScaleTargetRef.Name, base.set.Kind+" "+base.set.Name)
	same(t, "the least", *s.MinReplicaCount, 0)
	at := slices.Index(base.job.Spec.Template.Spec.Containers[0].Args, "--partitions")
	if partitions := number(t, base.job.Spec.Template.Spec.Containers[0].Args[at+1]); *s.MaxReplicaCount > partitions {
		t.Errorf("%d routers for %d partitions", *s.MaxReplicaCount, partitions)
	}
	if *s.CooldownPeriod < 60 {
		t.Errorf("a cooldown of %d s", *s.CooldownPeriod)
	}
	same(t, "the topic of the journal", s.Triggers[0].Metadata.Topic, "onward.journal")
	same(t, "the group of the journal", s.Triggers[0].Metadata.ConsumerGroup, "onward")
	document := slices.Collect(maps.Values(m.configs["onward-documents"].Data))[0]
	for _, x := range s.Triggers {
		same(t, "a trigger", x.Type, "kafka")
		same(t, "brokers", x.Metadata.BootstrapServers, env["ONWARD_KAFKA_BROKERS"])
		same(t, "what wakes", x.Metadata.ActivationLagThreshold, "0")
		same(t, "a mechanism", x.Metadata.SASL, regexp.MustCompile(`-(\d+)$`).ReplaceAllString(strings.Replace(env["ONWARD_KAFKA_SASL_MECHANISM"], "scram-sha", "scram_sha", 1), "$1"))
		if m.authentications[x.AuthenticationRef.Name].Name == "" {
			t.Errorf("there is no TriggerAuthentication %q", x.AuthenticationRef.Name)
		}
	}
	source := s.Triggers[1].Metadata
	for _, want := range []string{"topics: [" + source.Topic + "]", "group: " + source.ConsumerGroup} {
		if !strings.Contains(document, want) {
			t.Errorf("no source has %s", want)
		}
	}
	// The number of routers is not set at every apply.
	var patch []struct{ Op, Path string }
	if err := yaml.UnmarshalStrict([]byte(m.kustomization.Patches[1].Patch), &patch); err != nil || patch[0].Op != "remove" || patch[0].Path != "/spec/replicas" {
		t.Errorf("%v, %v", patch, err)
	}
}
