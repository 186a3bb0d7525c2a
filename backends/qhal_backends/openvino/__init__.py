"""The backend ``openvino``: OpenVINO IR for Intel's processors, graphics and NPUs."""
