package deploy_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	triggers "github.com/onward-router/onward/triggers/all"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	sinks.Register(r)
	triggers.Register(r)
	return r
}

// settingNames are the environment variables that the router knows.
func settingNames(t *testing.T) []string {
	t.Helper()
	f := pflag.NewFlagSet("onward", pflag.ContinueOnError)
	config.BindFlags(f)
	var names []string
	f.VisitAll(func(f *pflag.Flag) {
		names = append(names, "ONWARD_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")))
	})
	return append(names, "ONWARD_TOKEN")
}

// A scaledObject has the fields of KEDA's that we use; anything else is an error.
type scaledObject struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Spec       struct {
		ScaleTargetRef  map[string]string `json:"scaleTargetRef"`
		MinReplicaCount *int              `json:"minReplicaCount"`
		MaxReplicaCount int               `json:"maxReplicaCount"`
		PollingInterval int               `json:"pollingInterval"`
		CooldownPeriod  int               `json:"cooldownPeriod"`
		Triggers        []struct {
			Type     string            `json:"type"`
			Metadata map[string]string `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

var kinds = map[string]any{
	"v1/ConfigMap": corev1.ConfigMap{}, "v1/Service": corev1.Service{}, "batch/v1/Job": batchv1.Job{}, "apps/v1/StatefulSet": appsv1.StatefulSet{},
	"policy/v1/PodDisruptionBudget": policyv1.PodDisruptionBudget{}, "networking.k8s.io/v1/NetworkPolicy": networkingv1.NetworkPolicy{},
	"keda.sh/v1alpha1/ScaledObject": scaledObject{},
}

// objects reads all manifests strictly: an unknown or a double field is an error.
func objects(t *testing.T) map[string]any {
	t.Helper()
	out := make(map[string]any)
	files, _ := filepath.Glob("kubernetes/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range bytes.Split(text, []byte("\n---\n")) {
			var head struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal(doc, &head); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			kind, known := kinds[head.APIVersion+"/"+head.Kind]
			if !known {
				t.Fatalf("%s: %s/%s is not checked", file, head.APIVersion, head.Kind)
			}
			v := reflect.New(reflect.TypeOf(kind))
			if err := yaml.UnmarshalStrict(doc, v.Interface()); err != nil {
				t.Errorf("%s: %s: %v", file, head.Kind, err)
			}
			name := v.Elem().FieldByName("Name")
			key := head.Kind
			if name.IsValid() {
				key += "/" + name.String()
			}
			out[key] = v.Interface()
		}
	}
	return out
}

// TestKubernetes decodes the manifests into Kubernetes' own types, and holds them against one another and against the router.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	all := objects(t)
	set := all["StatefulSet/onward"].(*appsv1.StatefulSet)
	job := all["Job/onward-kafka-init"].(*batchv1.Job)
	names := settingNames(t)
	for _, pod := range []corev1.PodSpec{set.Spec.Template.Spec, job.Spec.Template.Spec} {
		c := pod.Containers[0]
		for _, e := range c.Env {
			if strings.HasPrefix(e.Name, "ONWARD_") && !slices.Contains(names, e.Name) {
				t.Errorf("%s is no setting", e.Name)
			}
		}
		if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem || pod.SecurityContext.RunAsNonRoot == nil {
			t.Errorf("%s: it is looser than it says", c.Name)
		}
		for _, m := range c.VolumeMounts {
			if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) &&
				!slices.ContainsFunc(set.Spec.VolumeClaimTemplates, func(v corev1.PersistentVolumeClaim) bool { return v.Name == m.Name }) {
				t.Errorf("%s: no volume %q", c.Name, m.Name)
			}
		}
	}
	peers := all["Service/onward-peers"].(*corev1.Service)
	labels := set.Spec.Template.Labels
	if set.Spec.ServiceName != peers.Name || peers.Spec.ClusterIP != corev1.ClusterIPNone || !reflect.DeepEqual(set.Spec.Selector.MatchLabels, labels) ||
		!reflect.DeepEqual(peers.Spec.Selector, labels) || !reflect.DeepEqual(all["PodDisruptionBudget/onward"].(*policyv1.PodDisruptionBudget).Spec.Selector.MatchLabels, labels) {
		t.Error("names and labels do not fit together")
	}
	c := set.Spec.Template.Spec.Containers[0]
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if path := p.HTTPGet.Path; path != "/healthz" && path != "/readyz" {
			t.Errorf("no such path: %s", path)
		}
	}
	scaled := all["ScaledObject"].(*scaledObject)
	if s := scaled.Spec; s.ScaleTargetRef["name"] != set.Name || *s.MinReplicaCount != 0 || s.Triggers[0].Metadata["topic"] != "onward.journal" || s.Triggers[0].Metadata["consumerGroup"] != "onward" {
		t.Errorf("%+v", s)
	}
	for name, text := range all["ConfigMap/onward-documents"].(*corev1.ConfigMap).Data {
		_, findings := config.Parse(name, []byte(text), registry(), nil)
		for _, f := range findings {
			t.Error(f)
		}
	}
}

// TestCompose loads the file by the specification's own loader.
func TestCompose(t *testing.T) {
	t.Parallel()
	o, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithWorkingDirectory("."), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := o.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	names := settingNames(t)
	stages := stagesOf(t)
	for name, s := range project.Services {
		if s.Build != nil {
			if !slices.Contains(stages, s.Build.Target) {
				t.Errorf("%s: the Dockerfile has no stage %q", name, s.Build.Target)
			}
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Error(err)
			}
		}
		for key := range s.Environment {
			if strings.HasPrefix(key, "ONWARD_") && !slices.Contains(names, key) {
				t.Errorf("%s: %s is no setting", name, key)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				if _, findings := config.Load([]string{v.Source}, registry(), nil); len(findings) > 0 {
					t.Error(findings)
				}
			}
		}
	}
}

var stage = regexp.MustCompile(`(?m)^FROM (\S+) AS (\S+)$`)

func stagesOf(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range stage.FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[2])
	}
	return out
}

// TestDockerfile: what it builds is there, and the Go is the module's.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	goVersion := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(module)
	if !bytes.Contains(text, append([]byte("golang:"), goVersion[1]...)) {
		t.Errorf("the module is for go %s", goVersion[1])
	}
	for _, m := range regexp.MustCompile(`\s(\./\S+)`).FindAllSubmatch(text, -1) {
		if path := string(m[1]); strings.HasPrefix(path, "./router") || strings.HasPrefix(path, "./deploy") {
			if _, err := os.Stat(filepath.Join("..", path)); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestExamples lints all of them.
func TestExamples(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "127.0.0.1:9092")
	dirs, _ := filepath.Glob("examples/*")
	for _, dir := range dirs {
		if strings.Contains(dir, "your-own-policy") {
			continue // Its policy is its own.
		}
		if _, findings := config.Load([]string{dir}, registry(), nil); len(findings) > 0 {
			t.Errorf("%s: %v", dir, findings)
		}
	}
}
