// Command client runs what applications do with HashiCorp's Go library: logins, credentials, renewal with its
// LifetimeWatcher, revocation, wrapping, policies, KV. It ends with 0 when every answer was as the library wants it.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/userpass"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(holds bool, what string, got ...any) {
	if !holds {
		must(fmt.Errorf("%s: %v", what, got))
	}
}

func connect(address, token string) *api.Client {
	configuration := api.DefaultConfig()
	configuration.Address = address
	client, err := api.NewClient(configuration)
	must(err)
	client.SetToken(token)
	return client
}

// status returns the HTTP status of a refusal, 0 when it was none.
func status(err error) int {
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}

func main() {
	address, role := os.Args[1], os.Args[2]
	root := connect(address, os.Getenv("ROOT_TOKEN"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	system(root)
	policies(root, role)
	client := logIn(ctx, root, address)
	credentials(ctx, client, role)
	wrapping(client, root, address)
	keyValue(ctx, root)
	tokens(root, address)
}

func system(root *api.Client) {
	health, err := root.Sys().Health()
	must(err)
	check(health.Initialized && !health.Sealed && !health.Standby, "health", health)
	seal, err := root.Sys().SealStatus()
	must(err)
	check(!seal.Sealed && seal.Version != "", "seal status", seal)
	mounts, err := root.Sys().ListMounts()
	must(err)
	check(mounts["database/"] != nil && mounts["database/"].Type == "database", "mounts", mounts)
	must(root.Sys().TuneMount("database", api.MountConfigInput{MaxLeaseTTL: "4h"}))
	tuned, err := root.Sys().MountConfig("database")
	must(err)
	check(tuned.MaxLeaseTTL == 4*3600, "tuned max lease TTL", tuned.MaxLeaseTTL)
	catalog, err := root.Sys().ListPlugins(&api.ListPluginsInput{Type: api.PluginTypeDatabase})
	must(err)
	check(slices.Contains(catalog.PluginsByType[api.PluginTypeDatabase], "postgresql-database-plugin"), "plugins", catalog)
}

func policies(root *api.Client, role string) {
	text := fmt.Sprintf("path \"database/creds/%s\" { capabilities = [\"read\"] }", role)
	must(root.Sys().PutPolicy("go-app", text))
	read, err := root.Sys().GetPolicy("go-app")
	must(err)
	check(read == text, "policy reads back", read)
	names, err := root.Sys().ListPolicies()
	must(err)
	check(slices.Contains(names, "go-app"), "policies", names)
	must(root.Sys().PutPolicy("go-gone", text))
	must(root.Sys().DeletePolicy("go-gone"))
	read, err = root.Sys().GetPolicy("go-gone")
	check(err == nil && read == "", "a deleted policy", err, read)
}

func logIn(ctx context.Context, root *api.Client, address string) *api.Client {
	must(root.Sys().EnableAuthWithOptions("go-approle", &api.EnableAuthOptions{Type: "approle"}))
	_, err := root.Logical().Write("auth/go-approle/role/app", map[string]any{"token_policies": "go-app", "token_ttl": "1h"})
	must(err)
	read, err := root.Logical().Read("auth/go-approle/role/app/role-id")
	must(err)
	made, err := root.Logical().Write("auth/go-approle/role/app/secret-id", nil)
	must(err)

	client := connect(address, "")
	roleID := read.Data["role_id"].(string)
	method, err := approle.NewAppRoleAuth(roleID, &approle.SecretID{FromString: made.Data["secret_id"].(string)}, approle.WithMountPath("go-approle"))
	must(err)
	secret, err := client.Auth().Login(ctx, method)
	must(err)
	granted, err := secret.TokenPolicies()
	check(err == nil && slices.Equal(granted, []string{"default", "go-app"}), "policies of the login", granted, err)

	wrong, err := approle.NewAppRoleAuth(roleID, &approle.SecretID{FromString: "wrong"}, approle.WithMountPath("go-approle"))
	must(err)
	_, err = connect(address, "").Auth().Login(ctx, wrong)
	check(status(err) == http.StatusBadRequest, "a wrong secret id", err)

	must(root.Sys().EnableAuthWithOptions("go-users", &api.EnableAuthOptions{Type: "userpass"}))
	_, err = root.Logical().Write("auth/go-users/users/ann", map[string]any{"password": "ann's own", "token_policies": "go-app"})
	must(err)
	user, err := userpass.NewUserpassAuth("ann", &userpass.Password{FromString: "ann's own"}, userpass.WithMountPath("go-users"))
	must(err)
	_, err = connect(address, "").Auth().Login(ctx, user)
	must(err)
	return client
}

// credentials takes a user, has the library's own watcher renew its lease, shows it to the test, and gives it back.
func credentials(ctx context.Context, client *api.Client, role string) {
	secret, err := client.Logical().ReadWithContext(ctx, "database/creds/"+role)
	must(err)
	check(secret.LeaseDuration == 3600 && secret.Renewable && secret.LeaseID != "", "the lease", secret.LeaseDuration)

	watcher, err := client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: secret, Increment: 1800})
	must(err)
	go watcher.Start()
	select {
	case renewal := <-watcher.RenewCh():
		check(renewal.Secret.LeaseDuration == 1800, "the renewed lease", renewal.Secret.LeaseDuration)
	case err := <-watcher.DoneCh():
		must(fmt.Errorf("the watcher has ended: %w", err))
	case <-ctx.Done():
		must(fmt.Errorf("no renewal: %w", ctx.Err()))
	}
	watcher.Stop()

	fmt.Println(secret.Data["username"])
	_, err = fmt.Scanln() // the test looks into the database; an empty line is no error of ours
	_ = err
	check(revoke(client, secret.LeaseID) == http.StatusForbidden, "the policy does not allow sys/leases/revoke")
	must(client.Auth().Token().RevokeSelf(""))
	_, err = client.Logical().Read("database/creds/" + role)
	check(status(err) == http.StatusForbidden, "a revoked token", err)
	fmt.Println("revoked")
}

func revoke(client *api.Client, lease string) int {
	return status(client.Sys().Revoke(lease))
}

func wrapping(_ *api.Client, root *api.Client, address string) {
	wrapper := connect(address, root.Token())
	wrapper.SetWrappingLookupFunc(func(string, string) string { return "5m" })
	wrapped, err := wrapper.Logical().Read("sys/policies/acl/go-app")
	must(err)
	check(wrapped.WrapInfo != nil && wrapped.WrapInfo.TTL == 300, "wrap info", wrapped.WrapInfo)
	receiver := connect(address, "")
	opened, err := receiver.Logical().Unwrap(wrapped.WrapInfo.Token)
	must(err)
	check(opened.Data["name"] == "go-app", "the wrapped answer", opened.Data)
	_, err = receiver.Logical().Unwrap(wrapped.WrapInfo.Token)
	check(status(err) == http.StatusBadRequest, "a second opening", err)
}

func keyValue(ctx context.Context, root *api.Client) {
	must(root.Sys().Mount("go-kv", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}))
	store := root.KVv2("go-kv")
	first, err := store.Put(ctx, "a/b", map[string]any{"user": "one"})
	must(err)
	check(first.VersionMetadata.Version == 1, "the first version", first.VersionMetadata)
	_, err = store.Put(ctx, "a/b", map[string]any{"user": "two"}, api.WithCheckAndSet(0))
	check(status(err) == http.StatusBadRequest, "check and set of a version that is past", err)
	_, err = store.Patch(ctx, "a/b", map[string]any{"more": "three"})
	must(err)
	read, err := store.Get(ctx, "a/b")
	must(err)
	check(read.Data["user"] == "one" && read.Data["more"] == "three", "patched", read.Data)
	must(store.Delete(ctx, "a/b"))
	_, err = store.GetVersion(ctx, "a/b", 1)
	must(err)
	must(store.Undelete(ctx, "a/b", []int{2}))
	_, err = store.Rollback(ctx, "a/b", 1)
	must(err)
	metadata, err := store.GetMetadata(ctx, "a/b")
	must(err)
	check(metadata.CurrentVersion == 3 && len(metadata.Versions) == 3, "metadata", metadata)
	must(store.DeleteMetadata(ctx, "a/b"))
	_, err = store.Get(ctx, "a/b")
	check(errors.Is(err, api.ErrSecretNotFound), "a deleted secret", err)

	must(root.Sys().Mount("go-kv1", &api.MountInput{Type: "kv"}))
	must(root.KVv1("go-kv1").Put(ctx, "x", map[string]any{"y": "z"}))
	old, err := root.KVv1("go-kv1").Get(ctx, "x")
	must(err)
	check(old.Data["y"] == "z", "KV version 1", old.Data)
	listed, err := root.Logical().List("go-kv1")
	must(err)
	check(len(listed.Data["keys"].([]any)) == 1, "listed", listed.Data)
}

func tokens(root *api.Client, address string) {
	made, err := root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"go-app"}, TTL: "10m", DisplayName: "child"})
	must(err)
	child := connect(address, made.Auth.ClientToken)
	self, err := child.Auth().Token().LookupSelf()
	must(err)
	ttl, err := self.TokenTTL()
	check(err == nil && ttl > 9*time.Minute, "the child's TTL", ttl, err)
	renewed, err := child.Auth().Token().RenewSelf(1200)
	must(err)
	check(renewed.Auth.LeaseDuration == 1200, "the renewed token", renewed.Auth.LeaseDuration)
	granted, err := child.Sys().CapabilitiesSelf("database/creds/none")
	check(err == nil && slices.Equal(granted, []string{"deny"}), "capabilities", granted, err)
	must(root.Auth().Token().RevokeAccessor(made.Auth.Accessor))
	_, err = child.Auth().Token().LookupSelf()
	check(status(err) == http.StatusForbidden, "a revoked child", err)
}
