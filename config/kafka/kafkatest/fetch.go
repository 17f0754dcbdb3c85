//go:build unix

package kafkatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/onward-router/onward/config/tooltest"
)

const log4jVersion = "2.24.3" // the one that this Kafka is built with

// pom names the server and its logging, which is not among its own dependencies.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>onward</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + Version + `</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>` + log4jVersion + `</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>` + log4jVersion + `</version></dependency>
  </dependencies>
  <build><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.6.1</version>
  </plugin></plugins></build>
</project>
`

// jars returns the folder of the server's jars, which it fetches when this user has none.
func jars() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: java is not installed", tooltest.ErrMissing)
	}
	return tooltest.Cached("kafka-"+Version, func(part string) (string, error) {
		if err := os.WriteFile(filepath.Join(part, "pom.xml"), []byte(pom), 0o644); err != nil {
			return "", err
		}
		libs := filepath.Join(part, "libs")
		if _, err := tooltest.Fetch(tooltest.Slow, part, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory="+libs, "-DincludeScope=runtime"); err != nil {
			return "", err
		}
		if found, _ := filepath.Glob(filepath.Join(libs, "kafka_2.13-*.jar")); len(found) == 0 {
			return "", fmt.Errorf("%w: mvn fetched no server", tooltest.ErrMissing)
		}
		return libs, nil
	})
}
