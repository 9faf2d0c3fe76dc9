list(APPEND APISERVER_AUTH_SOURCES
  auth/auth.cpp auth/authenticator.cpp auth/bootstrap_policy.cpp auth/bootstrap_policy_rows.cpp auth/decision.cpp
  auth/ensure_bootstrap.cpp auth/auth_feed.cpp auth/impersonation.cpp auth/local_services.cpp auth/node_authorizer.cpp auth/node_graph.cpp
  auth/rbac.cpp auth/rbac_objects.cpp auth/rbac_rule.cpp auth/reviews.cpp auth/token_request.cpp
  auth/user.cpp)
list(APPEND APISERVER_AUTH_TESTS auth/rbac_test.cpp auth/node_authorizer_test.cpp auth/auth_test.cpp)
set(APISERVER_AUTH_BENCH auth/auth_bench.cpp)
