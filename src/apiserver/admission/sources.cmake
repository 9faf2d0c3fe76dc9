list(APPEND APISERVER_AUTH_SOURCES
  admission/admission.cpp admission/class_defaults.cpp admission/guards.cpp admission/limit_ranger.cpp admission/node_restriction.cpp
  admission/pod_defaults.cpp admission/service_account.cpp)
list(APPEND APISERVER_AUTH_TESTS admission/admission_test.cpp)
