# CRI messages as views: #include "cri/views/cri_v1.h", namespace dure::cri::v1 (rows: cri_v1.rows).
# Include this file from src/cri/CMakeLists.txt and give the room LIBS dure_cri_rows.
dure_rows(dure_cri_rows NAMESPACE dure::cri INCLUDE cri/views ROWS cri_v1.rows)
