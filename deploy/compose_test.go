package deploy_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// project reads compose.yaml as docker compose does, with no variable set: against the schema, merged, with paths made whole.
func project(t *testing.T) *types.Project {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	details := types.ConfigDetails{WorkingDir: here, ConfigFiles: []types.ConfigFile{{Filename: here + "/compose.yaml"}}, Environment: types.Mapping{}}
	p, err := loader.LoadWithContext(t.Context(), details)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// environmentOf is what a service's program sees.
func environmentOf(t *testing.T, s types.ServiceConfig) map[string]string {
	t.Helper()
	env := imageEnv(t)
	for k, v := range s.Environment {
		env[k] = *v
	}
	return env
}

func TestComposeRouters(t *testing.T) {
	t.Parallel()
	p := project(t)
	volumes, published := make(map[string]bool), make(map[string]bool)
	for _, name := range []string{"router-1", "router-2"} {
		s := p.Services[name]
		env := environmentOf(t, s)
		checkSettings(t, name, env)
		checkCommand(t, name, s.Command)
		checkCommand(t, name, s.HealthCheck.Test[2:])
		same(t, name+": the health check's program", s.HealthCheck.Test[1], words(t, stageOf(t, "onward").all("ENTRYPOINT")[0])[0])
		same(t, name+": journal", env["ONWARD_JOURNAL"], "kafka")
		same(t, name+": advertise", env["ONWARD_ADVERTISE"], name+":"+port(env["ONWARD_LISTEN"]))
		same(t, name+": init", s.DependsOn["init"].Condition, types.ServiceConditionCompletedSuccessfully)
		// Without a token, this machine only.
		same(t, name+": address", s.Ports[0].HostIP, "127.0.0.1")
		same(t, name+": port", strconv.Itoa(int(s.Ports[0].Target)), port(env["ONWARD_LISTEN"]))
		if published[s.Ports[0].Published] {
			t.Errorf("port %s is published twice", s.Ports[0].Published)
		}
		published[s.Ports[0].Published] = true
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				same(t, name+": documents", v.Target, s.Command[1])
				if st, err := os.Stat(v.Source); err != nil || !st.IsDir() || !v.ReadOnly {
					t.Errorf("%s: %+v: %v", name, v, err)
				}
				continue
			}
			same(t, name+": data", v.Target, env["ONWARD_DATA"])
			if _, ok := p.Volumes[v.Source]; !ok || volumes[v.Source] {
				t.Errorf("%s: volume %q is not there, or is another's", name, v.Source)
			}
			volumes[v.Source] = true
		}
		if grace := time.Duration(*s.StopGracePeriod); grace < 20*time.Second {
			t.Errorf("%s is given %s to stop; drain takes 10 s and the callers' last requests 5 s", name, grace)
		}
	}
	same(t, "volumes", len(volumes), 2)
}

func TestComposeServices(t *testing.T) {
	t.Parallel()
	p := project(t)
	for name, s := range p.Services {
		if s.Build != nil {
			stageOf(t, s.Build.Target)
			if _, err := os.Stat(s.Build.Context + "/" + s.Build.Dockerfile); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
				t.Errorf("%s may do more than it needs", name)
			}
		}
		for on, d := range s.DependsOn {
			x, ok := p.Services[on]
			if !ok || d.Condition == types.ServiceConditionHealthy && (x.HealthCheck == nil || x.HealthCheck.Disable) {
				t.Errorf("%s waits for %s, which does not tell", name, on)
			}
		}
	}
	init := p.Services["init"]
	checkSettings(t, "init", environmentOf(t, init))
	checkCommand(t, "init", init.Command)
	same(t, "restart of init", init.Restart, types.RestartPolicyNo)
	kafka := p.Services["kafka"]
	if !strings.HasPrefix(kafka.Image, "apache/kafka:4.1.") {
		t.Errorf("kafka is %s", kafka.Image)
	}
	brokers := *init.Environment["ONWARD_KAFKA_BROKERS"]
	same(t, "where Kafka says it is", *kafka.Environment["KAFKA_ADVERTISED_LISTENERS"], "PLAINTEXT://"+brokers)
	same(t, "where its health is asked", kafka.HealthCheck.Test[len(kafka.HealthCheck.Test)-1], brokers)
	same(t, "Kafka's volume", kafka.Volumes[0].Target, *kafka.Environment["KAFKA_LOG_DIRS"])

	// The documents speak of the functions as the service serves them.
	b, err := os.ReadFile("compose/word-count.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checkDocuments(t, map[string]string{"word-count.yaml": string(b)})
	functions := stageOf(t, "functions")
	command := words(t, functions.all("CMD")[0])
	same(t, "the functions' port", port(command[1]), functions.all("EXPOSE")[0])
	if n := strings.Count(string(b), "http://functions:"+port(command[1])+"/"); n != 2 {
		t.Errorf("%d functions are at the service functions", n)
	}
}
