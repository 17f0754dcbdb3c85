package http

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/onward-router/onward/config/plugin"
)

// AWS says that requests are signed as AWS wants it (Signature Version 4), and with what. Credentials are read when a request is signed: who rotates them need not
// restart the router.
type AWS struct {
	Region    string         `doc:"region,required,value" help:"the region that the signature is for, e.g. eu-central-1"`
	Service   string         `doc:"service" help:"the service that it is for" default:"lambda"`
	AccessKey *plugin.Secret `doc:"accessKey" help:"where the id of the access key is; default: the environment variable AWS_ACCESS_KEY_ID"`
	SecretKey *plugin.Secret `doc:"secretKey" help:"where the secret access key is; default: AWS_SECRET_ACCESS_KEY"`
	Token     *plugin.Secret `doc:"token" help:"where the session token of temporary credentials is; default: AWS_SESSION_TOKEN, if it is set"`
}

// credentials reads what a request is signed with.
func (a *AWS) credentials() (c aws.Credentials, err error) {
	read := func(s *plugin.Secret, variable string) string {
		if s == nil {
			s = &plugin.Secret{Env: variable}
		}
		v, e := s.Read()
		if err == nil && e != nil {
			err = fmt.Errorf("AWS credentials: %w", e)
		}
		return v
	}
	c.AccessKeyID, c.SecretAccessKey = read(a.AccessKey, "AWS_ACCESS_KEY_ID"), read(a.SecretKey, "AWS_SECRET_ACCESS_KEY")
	if a.Token != nil || os.Getenv("AWS_SESSION_TOKEN") != "" {
		c.SessionToken = read(a.Token, "AWS_SESSION_TOKEN")
	}
	return c, err
}

// sign signs a request that is complete.
func (a *AWS) sign(req *http.Request, body []byte) error {
	c, err := a.credentials()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	return v4.NewSigner().SignHTTP(req.Context(), c, req, hex.EncodeToString(sum[:]), a.Service, a.Region, time.Now())
}
