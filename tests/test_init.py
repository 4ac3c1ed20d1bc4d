import subprocess
import sys

HEAVY = "torch, torchvision, transformers, sentence_transformers, open_clip, timm, onnx, onnxruntime, faiss"


def test_importing_the_package_imports_no_heavy_library():
    code = f"import sys, mllctl; print(sorted(set(sys.modules) & set('{HEAVY}'.split(', '))))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
