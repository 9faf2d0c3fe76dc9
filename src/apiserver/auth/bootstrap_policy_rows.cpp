// The RBAC objects a new cluster has, as rows (the language: bootstrap_policy.h). Facts of
// Kubernetes 1.34: rules behind feature gates that are off by default there are left out.
#include "apiserver/auth/bootstrap_policy.h"

namespace dure::apiserver {

extern const std::string_view bootstrap_policy_rows = R"rows(
clusterrole cluster-admin
  * * *
  * path *
clusterrole system:discovery
  get path /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,
      /version/
clusterrole system:monitoring
  get path /healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*
  get core nodes/metrics
clusterrole system:basic-user
  create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews
  create authentication.k8s.io selfsubjectreviews
clusterrole system:public-info-viewer
  get path /healthz,/livez,/readyz,/version,/version/
clusterrole admin <rbac.authorization.k8s.io/aggregate-to-admin=true
clusterrole edit +rbac.authorization.k8s.io/aggregate-to-admin=true
      <rbac.authorization.k8s.io/aggregate-to-edit=true
clusterrole view +rbac.authorization.k8s.io/aggregate-to-edit=true
      <rbac.authorization.k8s.io/aggregate-to-view=true
clusterrole system:aggregate-to-admin +rbac.authorization.k8s.io/aggregate-to-admin=true
  create authorization.k8s.io localsubjectaccessreviews
  create,delete,deletecollection,get,list,patch,update,watch rbac.authorization.k8s.io
      rolebindings,roles
clusterrole system:aggregate-to-edit +rbac.authorization.k8s.io/aggregate-to-edit=true
  get,list,watch core pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy
  impersonate core serviceaccounts
  create,delete,deletecollection,patch,update core pods,pods/attach,pods/exec,pods/portforward,
      pods/proxy
  create core pods/eviction
  create,delete,deletecollection,patch,update core configmaps,events,persistentvolumeclaims,
      replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,
      services/proxy
  create core serviceaccounts/token
  create,delete,deletecollection,patch,update apps daemonsets,deployments,deployments/rollback,
      deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale
  create,delete,deletecollection,patch,update autoscaling horizontalpodautoscalers
  create,delete,deletecollection,patch,update batch cronjobs,jobs
  create,delete,deletecollection,patch,update extensions daemonsets,deployments,
      deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,
      replicasets/scale,replicationcontrollers/scale
  create,delete,deletecollection,patch,update policy poddisruptionbudgets
  create,delete,deletecollection,patch,update networking.k8s.io ingresses,networkpolicies
  create,delete,deletecollection,get,list,patch,update,watch coordination.k8s.io leases
  create,delete,deletecollection,patch,update resource.k8s.io resourceclaims,
      resourceclaimtemplates
clusterrole system:aggregate-to-view +rbac.authorization.k8s.io/aggregate-to-view=true
  get,list,watch core configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,
      pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,
      services/status
  get,list,watch core bindings,events,limitranges,namespaces/status,pods/log,pods/status,
      replicationcontrollers/status,resourcequotas,resourcequotas/status
  get,list,watch core namespaces
  get,list,watch discovery.k8s.io endpointslices
  get,list,watch apps controllerrevisions,daemonsets,daemonsets/status,deployments,
      deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,
      statefulsets,statefulsets/scale,statefulsets/status
  get,list,watch autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status
  get,list,watch batch cronjobs,cronjobs/status,jobs,jobs/status
  get,list,watch extensions daemonsets,daemonsets/status,deployments,deployments/scale,
      deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,
      replicasets/status,replicationcontrollers/scale
  get,list,watch policy poddisruptionbudgets,poddisruptionbudgets/status
  get,list,watch networking.k8s.io ingresses,ingresses/status,networkpolicies
  get,list,watch resource.k8s.io resourceclaims,resourceclaims/status,resourceclaimtemplates
clusterrole system:heapster
  get,list,watch core events,namespaces,nodes,pods
  get,list,watch extensions deployments
clusterrole system:node
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io localsubjectaccessreviews,subjectaccessreviews
  get,list,watch core services
  create,get,list,watch core nodes
  patch,update core nodes/status
  patch,update core nodes
  create,patch,update core events
  get,list,watch core pods
  create,delete core pods
  patch,update core pods/status
  create core pods/eviction
  get,list,watch core configmaps,secrets
  get core persistentvolumeclaims,persistentvolumes
  get core endpoints
  create,get,list,watch certificates.k8s.io certificatesigningrequests
  create,delete,get,patch,update coordination.k8s.io leases
  get storage.k8s.io volumeattachments
  create core serviceaccounts/token
  get,patch,update core persistentvolumeclaims/status
  get,list,watch storage.k8s.io csidrivers
  create,delete,get,patch,update storage.k8s.io csinodes
  get,list,watch node.k8s.io runtimeclasses
  get resource.k8s.io resourceclaims
  deletecollection resource.k8s.io resourceslices
  get core serviceaccounts
clusterrole system:node-problem-detector
  get core nodes
  patch core nodes/status
  create,patch,update core,events.k8s.io events
clusterrole system:node-bootstrapper
  create,get,list,watch certificates.k8s.io certificatesigningrequests
clusterrole system:auth-delegator
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io subjectaccessreviews
clusterrole system:kube-aggregator
  get,list,watch core endpoints,services
clusterrole system:kube-controller-manager
  create,patch,update core,events.k8s.io events
  create coordination.k8s.io leases
  get,update coordination.k8s.io leases kube-controller-manager
  create core secrets,serviceaccounts
  delete core secrets
  get core configmaps,namespaces,secrets,serviceaccounts
  update core secrets,serviceaccounts
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io subjectaccessreviews
  list,watch * *
  create core serviceaccounts/token
clusterrole system:kube-dns
  list,watch core endpoints,services
clusterrole system:persistent-volume-provisioner
  create,delete,get,list,watch core persistentvolumes
  get,list,update,watch core persistentvolumeclaims
  get,list,watch storage.k8s.io storageclasses
  watch core events
  create,patch,update core,events.k8s.io events
clusterrole system:certificates.k8s.io:certificatesigningrequests:nodeclient
  create certificates.k8s.io certificatesigningrequests/nodeclient
clusterrole system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
  create certificates.k8s.io certificatesigningrequests/selfnodeclient
clusterrole system:volume-scheduler
  get,list,patch,update,watch core persistentvolumes
  get,list,watch storage.k8s.io storageclasses
  get,list,patch,update,watch core persistentvolumeclaims
clusterrole system:certificates.k8s.io:legacy-unknown-approver
  approve certificates.k8s.io signers kubernetes.io/legacy-unknown
clusterrole system:certificates.k8s.io:kubelet-serving-approver
  approve certificates.k8s.io signers kubernetes.io/kubelet-serving
clusterrole system:certificates.k8s.io:kube-apiserver-client-approver
  approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client
clusterrole system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
  approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet
clusterrole system:service-account-issuer-discovery
  get path /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,
      /openid/v1/jwks/
clusterrole system:kubelet-api-admin
  get,list,watch core nodes
  proxy core nodes
  * core nodes/log,nodes/metrics,nodes/proxy,nodes/stats
  * core nodes/configz,nodes/healthz,nodes/pods
clusterrole system:node-proxier
  list,watch core endpoints,services
  get,list,watch core nodes
  create,patch,update core,events.k8s.io events
  list,watch networking.k8s.io servicecidrs
  list,watch discovery.k8s.io endpointslices
clusterrole system:kube-scheduler
  create,patch,update core,events.k8s.io events
  create coordination.k8s.io leases
  get,list,update,watch coordination.k8s.io leases kube-scheduler
  create,delete,deletecollection,get,list,patch,update,watch coordination.k8s.io leasecandidates
  get,list,watch core nodes
  delete,get,list,watch core pods
  create core bindings,pods/binding
  patch,update core pods/status
  get,list,watch core replicationcontrollers,services
  get,list,watch apps,extensions replicasets
  get,list,watch apps statefulsets
  get,list,watch policy poddisruptionbudgets
  get,list,watch core persistentvolumeclaims,persistentvolumes
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io subjectaccessreviews
  get,list,watch storage.k8s.io csinodes
  get,list,watch storage.k8s.io volumeattachments
  get,list,watch core namespaces
  get,list,watch storage.k8s.io csidrivers
  get,list,watch storage.k8s.io csistoragecapacities
  get,list,watch resource.k8s.io deviceclasses
  get,list,patch,update,watch resource.k8s.io resourceclaims
  get,list,patch,update,watch resource.k8s.io resourceclaims/status
  update core pods/finalizers
  get,list,watch resource.k8s.io resourceslices
clusterrole system:controller:attachdetach-controller
  list,watch core persistentvolumeclaims,persistentvolumes
  get,list,watch core nodes
  patch,update core nodes/status
  list,watch core pods
  create,patch,update core,events.k8s.io events
  create,delete,get,list,watch storage.k8s.io volumeattachments
  get,list,watch storage.k8s.io csidrivers
  get,list,watch storage.k8s.io csinodes
clusterrole system:controller:clusterrole-aggregation-controller
  escalate,get,list,patch,update,watch rbac.authorization.k8s.io clusterroles
clusterrole system:controller:cronjob-controller
  get,list,update,watch batch cronjobs
  create,delete,get,list,patch,update,watch batch jobs
  update batch cronjobs/status
  update batch cronjobs/finalizers
  delete,list,watch core pods
  create,patch,update core,events.k8s.io events
clusterrole system:controller:daemon-set-controller
  get,list,watch apps,extensions daemonsets
  update apps,extensions daemonsets/status
  update apps,extensions daemonsets/finalizers
  list,watch core nodes
  create,delete,list,patch,watch core pods
  create core pods/binding
  create,delete,get,list,patch,update,watch apps controllerrevisions
  create,patch,update core,events.k8s.io events
clusterrole system:controller:deployment-controller
  get,list,update,watch apps,extensions deployments
  update apps,extensions deployments/status
  update apps,extensions deployments/finalizers
  create,delete,get,list,patch,update,watch apps,extensions replicasets
  get,list,update,watch core pods
  create,patch,update core,events.k8s.io events
clusterrole system:controller:disruption-controller
  get,list,watch apps,extensions deployments
  get,list,watch apps,extensions replicasets
  get,list,watch core replicationcontrollers
  get,list,watch policy poddisruptionbudgets
  get,list,watch apps statefulsets
  update policy poddisruptionbudgets/status
  patch,update core pods/status
  get * */scale
  create,patch,update core,events.k8s.io events
clusterrole system:controller:endpoint-controller
  get,list,watch core pods,services
  create,delete,get,list,update,watch core endpoints
  create core endpoints/restricted
  create,patch,update core,events.k8s.io events
clusterrole system:controller:endpointslice-controller
  get,list,watch core nodes,pods,services
  update core services/finalizers
  create,delete,get,list,update,watch discovery.k8s.io endpointslices
  create,patch,update core,events.k8s.io events
clusterrole system:controller:endpointslicemirroring-controller
  get,list,watch core endpoints,services
  update core services/finalizers
  update core endpoints/finalizers
  create,delete,get,list,update,watch discovery.k8s.io endpointslices
  create,patch,update core,events.k8s.io events
clusterrole system:controller:expand-controller
  get,list,patch,update,watch core persistentvolumes
  patch,update core persistentvolumeclaims/status
  get,list,watch core persistentvolumeclaims
  create,patch,update core,events.k8s.io events
  get core services
clusterrole system:controller:ephemeral-volume-controller
  get,list,watch core pods
  update core pods/finalizers
  create,get,list,watch core persistentvolumeclaims
  create,patch,update core,events.k8s.io events
clusterrole system:controller:resource-claim-controller
  get,list,watch core pods
  update core pods/finalizers
  create,delete,get,list,watch resource.k8s.io resourceclaims
  patch,update resource.k8s.io resourceclaims,resourceclaims/status
  patch,update core pods/status
  create,patch,update core,events.k8s.io events
clusterrole system:controller:generic-garbage-collector
  delete,get,list,patch,update,watch * *
  create,patch,update core,events.k8s.io events
clusterrole system:controller:horizontal-pod-autoscaler
  get,list,watch autoscaling horizontalpodautoscalers
  update autoscaling horizontalpodautoscalers/status
  get,update * */scale
  list,watch core pods
  list,watch metrics.k8s.io pods
  get,list,watch custom.metrics.k8s.io *
  get,list,watch external.metrics.k8s.io *
  create,patch,update core,events.k8s.io events
clusterrole system:controller:job-controller
  get,list,patch,update,watch batch jobs
  update batch jobs/status
  update batch jobs/finalizers
  create,delete,list,patch,watch core pods
  create,patch,update core,events.k8s.io events
clusterrole system:controller:namespace-controller
  delete,get,list,watch core namespaces
  update core namespaces/finalize,namespaces/status
  delete,deletecollection,get,list,watch * *
clusterrole system:controller:node-controller
  delete,get,list,patch,update,watch core nodes
  patch,update core nodes/status
  patch,update core pods/status
  delete,get,list,watch core pods
  create,patch,update core,events.k8s.io events
clusterrole system:controller:persistent-volume-binder
  create,delete,get,list,update,watch core persistentvolumes
  update core persistentvolumes/status
  get,list,update,watch core persistentvolumeclaims
  update core persistentvolumeclaims/status
  create,delete,get,list,watch core pods
  get,list,watch storage.k8s.io storageclasses
  list,watch core nodes
  create,patch,update core,events.k8s.io events
  watch core events
  get core services
clusterrole system:controller:pod-garbage-collector
  delete,list,watch core pods
  get,list,watch core nodes
  patch core pods/status
clusterrole system:controller:replicaset-controller
  get,list,update,watch apps,extensions replicasets
  update apps,extensions replicasets/status
  update apps,extensions replicasets/finalizers
  create,delete,list,patch,watch core pods
  create,patch,update core,events.k8s.io events
clusterrole system:controller:replication-controller
  get,list,update,watch core replicationcontrollers
  update core replicationcontrollers/status
  update core replicationcontrollers/finalizers
  create,delete,list,patch,watch core pods
  create,patch,update core,events.k8s.io events
clusterrole system:controller:resourcequota-controller
  list,watch * *
  update core resourcequotas/status
  create,patch,update core,events.k8s.io events
clusterrole system:controller:route-controller
  list,watch core nodes
  patch core nodes/status
  create,patch,update core,events.k8s.io events
clusterrole system:controller:service-account-controller
  create core serviceaccounts
  create,patch,update core,events.k8s.io events
clusterrole system:controller:service-controller
  get,list,watch core services
  patch,update core services/status
  list,watch core nodes
  create,patch,update core,events.k8s.io events
clusterrole system:controller:service-cidrs-controller
  get,list,patch,update,watch networking.k8s.io servicecidrs
  patch,update networking.k8s.io servicecidrs/finalizers
  patch,update networking.k8s.io servicecidrs/status
  get,list,watch networking.k8s.io ipaddresses
  create,patch,update core,events.k8s.io events
clusterrole system:controller:statefulset-controller
  list,watch core pods
  get,list,watch apps statefulsets
  update apps statefulsets/status
  update apps statefulsets/finalizers
  create,delete,get,patch,update core pods
  create,delete,get,list,patch,update,watch apps controllerrevisions
  create,get,list,watch core persistentvolumeclaims
  create,patch,update core,events.k8s.io events
  delete,update core persistentvolumeclaims
  update core pods/finalizers
clusterrole system:controller:ttl-controller
  list,patch,update,watch core nodes
  create,patch,update core,events.k8s.io events
clusterrole system:controller:certificate-controller
  delete,get,list,watch certificates.k8s.io certificatesigningrequests
  update certificates.k8s.io certificatesigningrequests/approval,certificatesigningrequests/status
  approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet
  sign certificates.k8s.io signers kubernetes.io/kube-apiserver-client,
      kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,
      kubernetes.io/legacy-unknown
  create authorization.k8s.io subjectaccessreviews
  create,patch,update core,events.k8s.io events
clusterrole system:controller:pvc-protection-controller
  get,list,update,watch core persistentvolumeclaims
  get,list,watch core pods
  create,patch,update core,events.k8s.io events
clusterrole system:controller:pv-protection-controller
  get,list,update,watch core persistentvolumes
  create,patch,update core,events.k8s.io events
clusterrole system:controller:volumeattributesclass-protection-controller
  get,list,watch core persistentvolumeclaims
  get,list,watch core persistentvolumes
  get,list,update,watch storage.k8s.io volumeattributesclasses
  create,patch,update core,events.k8s.io events
clusterrole system:controller:ttl-after-finished-controller
  delete,get,list,watch batch jobs
  create,patch,update core,events.k8s.io events
clusterrole system:controller:root-ca-cert-publisher
  create,update core configmaps
  create,patch,update core,events.k8s.io events
clusterrole system:controller:validatingadmissionpolicy-status-controller
  get,list,watch admissionregistration.k8s.io validatingadmissionpolicies
  get,patch,update admissionregistration.k8s.io validatingadmissionpolicies/status
  create,patch,update core,events.k8s.io events
clusterrole system:controller:legacy-service-account-token-cleaner
  get core configmaps kube-apiserver-legacy-service-account-token-tracking
  delete,patch core secrets
clusterrole system:controller:selinux-warning-controller
  create,patch,update core,events.k8s.io events
  get,list,watch core persistentvolumes
  get,list,watch core persistentvolumeclaims
  get,list,watch core pods
  get,list,watch storage.k8s.io csidrivers
clusterbinding cluster-admin ClusterRole/cluster-admin group=system:masters
clusterbinding system:monitoring ClusterRole/system:monitoring group=system:monitoring
clusterbinding system:discovery ClusterRole/system:discovery group=system:authenticated
clusterbinding system:basic-user ClusterRole/system:basic-user group=system:authenticated
clusterbinding system:public-info-viewer ClusterRole/system:public-info-viewer
      group=system:authenticated group=system:unauthenticated
clusterbinding system:node-proxier ClusterRole/system:node-proxier user=system:kube-proxy
clusterbinding system:kube-controller-manager ClusterRole/system:kube-controller-manager
      user=system:kube-controller-manager
clusterbinding system:kube-dns ClusterRole/system:kube-dns account=kube-system/kube-dns
clusterbinding system:kube-scheduler ClusterRole/system:kube-scheduler user=system:kube-scheduler
clusterbinding system:volume-scheduler ClusterRole/system:volume-scheduler
      user=system:kube-scheduler
clusterbinding system:node ClusterRole/system:node
clusterbinding system:service-account-issuer-discovery
      ClusterRole/system:service-account-issuer-discovery group=system:serviceaccounts
clusterbinding system:controller:attachdetach-controller
      ClusterRole/system:controller:attachdetach-controller
      account=kube-system/attachdetach-controller
clusterbinding system:controller:clusterrole-aggregation-controller
      ClusterRole/system:controller:clusterrole-aggregation-controller
      account=kube-system/clusterrole-aggregation-controller
clusterbinding system:controller:cronjob-controller
      ClusterRole/system:controller:cronjob-controller account=kube-system/cronjob-controller
clusterbinding system:controller:daemon-set-controller
      ClusterRole/system:controller:daemon-set-controller
      account=kube-system/daemon-set-controller
clusterbinding system:controller:deployment-controller
      ClusterRole/system:controller:deployment-controller
      account=kube-system/deployment-controller
clusterbinding system:controller:disruption-controller
      ClusterRole/system:controller:disruption-controller
      account=kube-system/disruption-controller
clusterbinding system:controller:endpoint-controller
      ClusterRole/system:controller:endpoint-controller account=kube-system/endpoint-controller
clusterbinding system:controller:endpointslice-controller
      ClusterRole/system:controller:endpointslice-controller
      account=kube-system/endpointslice-controller
clusterbinding system:controller:endpointslicemirroring-controller
      ClusterRole/system:controller:endpointslicemirroring-controller
      account=kube-system/endpointslicemirroring-controller
clusterbinding system:controller:expand-controller
      ClusterRole/system:controller:expand-controller account=kube-system/expand-controller
clusterbinding system:controller:ephemeral-volume-controller
      ClusterRole/system:controller:ephemeral-volume-controller
      account=kube-system/ephemeral-volume-controller
clusterbinding system:controller:resource-claim-controller
      ClusterRole/system:controller:resource-claim-controller
      account=kube-system/resource-claim-controller
clusterbinding system:controller:generic-garbage-collector
      ClusterRole/system:controller:generic-garbage-collector
      account=kube-system/generic-garbage-collector
clusterbinding system:controller:horizontal-pod-autoscaler
      ClusterRole/system:controller:horizontal-pod-autoscaler
      account=kube-system/horizontal-pod-autoscaler
clusterbinding system:controller:job-controller ClusterRole/system:controller:job-controller
      account=kube-system/job-controller
clusterbinding system:controller:namespace-controller
      ClusterRole/system:controller:namespace-controller account=kube-system/namespace-controller
clusterbinding system:controller:node-controller ClusterRole/system:controller:node-controller
      account=kube-system/node-controller
clusterbinding system:controller:persistent-volume-binder
      ClusterRole/system:controller:persistent-volume-binder
      account=kube-system/persistent-volume-binder
clusterbinding system:controller:pod-garbage-collector
      ClusterRole/system:controller:pod-garbage-collector
      account=kube-system/pod-garbage-collector
clusterbinding system:controller:replicaset-controller
      ClusterRole/system:controller:replicaset-controller
      account=kube-system/replicaset-controller
clusterbinding system:controller:replication-controller
      ClusterRole/system:controller:replication-controller
      account=kube-system/replication-controller
clusterbinding system:controller:resourcequota-controller
      ClusterRole/system:controller:resourcequota-controller
      account=kube-system/resourcequota-controller
clusterbinding system:controller:route-controller ClusterRole/system:controller:route-controller
      account=kube-system/route-controller
clusterbinding system:controller:service-account-controller
      ClusterRole/system:controller:service-account-controller
      account=kube-system/service-account-controller
clusterbinding system:controller:service-controller
      ClusterRole/system:controller:service-controller account=kube-system/service-controller
clusterbinding system:controller:service-cidrs-controller
      ClusterRole/system:controller:service-cidrs-controller
      account=kube-system/service-cidrs-controller
clusterbinding system:controller:statefulset-controller
      ClusterRole/system:controller:statefulset-controller
      account=kube-system/statefulset-controller
clusterbinding system:controller:ttl-controller ClusterRole/system:controller:ttl-controller
      account=kube-system/ttl-controller
clusterbinding system:controller:certificate-controller
      ClusterRole/system:controller:certificate-controller
      account=kube-system/certificate-controller
clusterbinding system:controller:pvc-protection-controller
      ClusterRole/system:controller:pvc-protection-controller
      account=kube-system/pvc-protection-controller
clusterbinding system:controller:pv-protection-controller
      ClusterRole/system:controller:pv-protection-controller
      account=kube-system/pv-protection-controller
clusterbinding system:controller:volumeattributesclass-protection-controller
      ClusterRole/system:controller:volumeattributesclass-protection-controller
      account=kube-system/volumeattributesclass-protection-controller
clusterbinding system:controller:ttl-after-finished-controller
      ClusterRole/system:controller:ttl-after-finished-controller
      account=kube-system/ttl-after-finished-controller
clusterbinding system:controller:root-ca-cert-publisher
      ClusterRole/system:controller:root-ca-cert-publisher
      account=kube-system/root-ca-cert-publisher
clusterbinding system:controller:validatingadmissionpolicy-status-controller
      ClusterRole/system:controller:validatingadmissionpolicy-status-controller
      account=kube-system/validatingadmissionpolicy-status-controller
clusterbinding system:controller:legacy-service-account-token-cleaner
      ClusterRole/system:controller:legacy-service-account-token-cleaner
      account=kube-system/legacy-service-account-token-cleaner
clusterbinding system:controller:selinux-warning-controller
      ClusterRole/system:controller:selinux-warning-controller
      account=kube-system/selinux-warning-controller
role kube-system/extension-apiserver-authentication-reader
  get,list,watch core configmaps extension-apiserver-authentication
role kube-system/system:controller:bootstrap-signer
  get,list,watch core secrets
role kube-system/system:controller:cloud-provider
  create,get,list,watch core configmaps
role kube-system/system:controller:token-cleaner
  delete,get,list,watch core secrets
  create,patch,update core,events.k8s.io events
role kube-system/system::leader-locking-kube-controller-manager
  watch core configmaps
  get,update core configmaps kube-controller-manager
  create,get,list,update,watch coordination.k8s.io leases
  create,get,list,update,watch coordination.k8s.io leasecandidates
role kube-system/system::leader-locking-kube-scheduler
  watch core configmaps
  get,update core configmaps kube-scheduler
  create,get,list,update,watch coordination.k8s.io leases
  create,get,list,update,watch coordination.k8s.io leasecandidates
role kube-public/system:controller:bootstrap-signer
  get,list,watch core configmaps
  update core configmaps cluster-info
  create,patch,update core,events.k8s.io events
binding kube-system/system::extension-apiserver-authentication-reader
      Role/extension-apiserver-authentication-reader user=system:kube-controller-manager
      user=system:kube-scheduler
binding kube-system/system::leader-locking-kube-controller-manager
      Role/system::leader-locking-kube-controller-manager user=system:kube-controller-manager
      account=kube-system/kube-controller-manager account=kube-system/leader-election-controller
binding kube-system/system::leader-locking-kube-scheduler
      Role/system::leader-locking-kube-scheduler user=system:kube-scheduler
      account=kube-system/kube-scheduler
binding kube-system/system:controller:bootstrap-signer Role/system:controller:bootstrap-signer
      account=kube-system/bootstrap-signer
binding kube-system/system:controller:cloud-provider Role/system:controller:cloud-provider
      account=kube-system/cloud-provider
binding kube-system/system:controller:token-cleaner Role/system:controller:token-cleaner
      account=kube-system/token-cleaner
binding kube-public/system:controller:bootstrap-signer Role/system:controller:bootstrap-signer
      account=kube-system/bootstrap-signer
)rows";

// What kubeadm adds so that machines can join, and what our own agent needs beyond the node
// authorizer's rules: it programs services, answers names and keeps the overlay's peers. Not marked
// for automatic updates: an administrator's edits stay.
extern const std::string_view joining_policy_rows = R"rows(
clusterbinding kubeadm:cluster-admins ClusterRole/cluster-admin group=kubeadm:cluster-admins
clusterrole kubeadm:get-nodes
  get core nodes
clusterbinding kubeadm:get-nodes ClusterRole/kubeadm:get-nodes
      group=system:bootstrappers:kubeadm:default-node-token
clusterbinding kubeadm:kubelet-bootstrap ClusterRole/system:node-bootstrapper
      group=system:bootstrappers:kubeadm:default-node-token
clusterbinding kubeadm:node-autoapprove-bootstrap
      ClusterRole/system:certificates.k8s.io:certificatesigningrequests:nodeclient
      group=system:bootstrappers:kubeadm:default-node-token
clusterbinding kubeadm:node-autoapprove-certificate-rotation
      ClusterRole/system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
      group=system:nodes
clusterbinding kubeadm:node-proxier ClusterRole/system:node-proxier account=kube-system/kube-proxy
role kube-public/kubeadm:bootstrap-signer-clusterinfo
  get core configmaps cluster-info
binding kube-public/kubeadm:bootstrap-signer-clusterinfo Role/kubeadm:bootstrap-signer-clusterinfo
      user=system:anonymous
role kube-system/kubeadm:nodes-kubeadm-config
  get core configmaps kubeadm-config
binding kube-system/kubeadm:nodes-kubeadm-config Role/kubeadm:nodes-kubeadm-config
      group=system:bootstrappers:kubeadm:default-node-token group=system:nodes
role kube-system/kubeadm:kubelet-config
  get core configmaps kubelet-config
binding kube-system/kubeadm:kubelet-config Role/kubeadm:kubelet-config
      group=system:bootstrappers:kubeadm:default-node-token group=system:nodes
clusterrole system:dure:agent
  get,list,watch core endpoints,namespaces,nodes,services
  get,list,watch discovery.k8s.io endpointslices
  get,list,watch networking.k8s.io networkpolicies,servicecidrs
  create,patch,update core,events.k8s.io events
  get path /dure/v1/*
clusterbinding system:dure:agent ClusterRole/system:dure:agent group=system:nodes
)rows";

}  // namespace dure::apiserver
