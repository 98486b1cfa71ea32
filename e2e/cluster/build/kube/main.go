// The cluster's servers in one program that acts by the name it is called by, so that they are compiled, linked and kept in memory once.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // CronJob time zones

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"

	// Of CoreDNS only what a cluster's DNS needs: the full set brings in every cloud's client library.
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	name := filepath.Base(os.Args[0])
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "coredns":
		// The order in which a query passes the plugins.
		dnsserver.Directives = []string{"bind", "ready", "errors", "kubernetes", "template"}
		coremain.Run()
	default:
		commands := map[string]func() *cobra.Command{
			"kube-apiserver":          apiserver.NewAPIServerCommand,
			"kube-controller-manager": controllermanager.NewControllerManagerCommand,
			"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
			"kube-proxy":              proxy.NewProxyCommand,
			"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
		}
		command, known := commands[name]
		if !known {
			fmt.Fprintf(os.Stderr, "%s: not one of the cluster's servers\n", name)
			os.Exit(2)
		}
		os.Exit(cli.Run(command()))
	}
}
