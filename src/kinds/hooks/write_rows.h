// The write-time functions of each kind, gathered into one table by write.cpp. Private to kinds/hooks.
#pragma once

#include "kinds/hooks/write.h"

namespace dure::kinds::write {

// pod_write.cpp, pod_update.cpp, pod_eviction.cpp
Status create_pod(WriteWorld& world, schema::Document& object);
Status update_pod(WriteWorld& world, schema::Document& object, const schema::Document& old);
Status update_pod_subresource(WriteWorld& world, std::string_view subresource, schema::Document& object,
                              const schema::Document& old);
Result<SubresourceAction> post_pod_subresource(WriteWorld& world, std::string_view subresource,
                                               schema::Document& object, const schema::Document& body);
Result<SubresourceAction> evict_pod(WriteWorld& world, const schema::Document& pod,
                                    const schema::Document& eviction);
int64_t pod_grace_seconds(const schema::Document& object, std::optional<int64_t> asked);

// node_calls.cpp
Result<NodeCall> pod_node_call(const schema::Document& object, std::string_view subresource,
                               std::string_view sub_path, const QueryList& query);
Result<NodeCall> node_node_call(const schema::Document& object, std::string_view subresource,
                                std::string_view sub_path, const QueryList& query);

// service_write.cpp
Status create_service(WriteWorld& world, schema::Document& object);
Status update_service(WriteWorld& world, schema::Document& object, const schema::Document& old);
void release_service(WriteWorld& world, const schema::Document& object);

// namespace_write.cpp
Status create_namespace(WriteWorld& world, schema::Document& object);
Status update_namespace(WriteWorld& world, schema::Document& object, const schema::Document& old);
Status finalize_namespace(WriteWorld& world, std::string_view subresource, schema::Document& object,
                          const schema::Document& old);
void mark_namespace_deleted(WriteWorld& world, schema::Document& object);
bool namespace_may_vanish(const schema::Document& object);

// signing_request_write.cpp
Status create_signing_request(WriteWorld& world, schema::Document& object);
Status update_signing_request(WriteWorld& world, schema::Document& object, const schema::Document& old);
Status update_signing_request_status(WriteWorld& world, schema::Document& object,
                                     const schema::Document& old);
Status approve_signing_request(WriteWorld& world, std::string_view subresource, schema::Document& object,
                               const schema::Document& old);

// small_writes.cpp
Status create_secret(WriteWorld& world, schema::Document& object);
Status update_secret(WriteWorld& world, schema::Document& object, const schema::Document& old);
Status create_job(WriteWorld& world, schema::Document& object);
Status create_api_service(WriteWorld& world, schema::Document& object);
Status create_volume(WriteWorld& world, schema::Document& object);
Status create_claim(WriteWorld& world, schema::Document& object);

// event_conversion.cpp, autoscaler_conversion.cpp
Status event_to_core(const schema::Document& served, schema::Document& stored);
Status event_from_core(const schema::Document& stored, schema::Document& served);
Status autoscaler_to_v2(const schema::Document& served, schema::Document& stored);
Status autoscaler_from_v2(const schema::Document& stored, schema::Document& served);
Status create_autoscaler(WriteWorld& world, schema::Document& object);
Status update_autoscaler(WriteWorld& world, schema::Document& object, const schema::Document& old);

// An Invalid without its head; the resource path adds the kind and the name.
Error invalid_fields(std::vector<Cause> causes);

}  // namespace dure::kinds::write
