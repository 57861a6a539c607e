// Training kernels for the parts of NemotronH that plain tensor operations do slowly on a CPU:
// the Mamba-2 core (convolution, selective scan, gated norm) and RMSNorm, forward and backward.
// Everything is fp32 and row-major; scans start from a zero state.

#include <cmath>
#include <cstring>
#include <vector>

namespace {

constexpr int kLane = 64;  // head_dim and state size
using Vec = float __attribute__((vector_size(64), aligned(4)));
constexpr int kVecs = kLane / 16;

struct Strided {
  float* data;
  long step;
  Vec* at(long t) const { return reinterpret_cast<Vec*>(data + t * step); }
};

// M <- decay M + u (outer) v ; out += w . M, forwards or backwards in time.  Backwards, the decay
// applied before step t is the one of step t + 1.
void scan(long length, bool backwards, const float* decay, Strided u, Strided v, Strided w,
          Strided out) {
  alignas(64) Vec m[kLane][kVecs] = {};
  for (long i = 0; i < length; ++i) {
    const long t = backwards ? length - 1 - i : i;
    const float d = backwards ? (i ? decay[t + 1] : 0.f) : decay[t];
    const float* ut = u.data + t * u.step;
    const float* wt = w.data + t * w.step;
    Vec x[kVecs], y[kVecs];
    for (int k = 0; k < kVecs; ++k) {
      x[k] = v.at(t)[k];
      y[k] = out.at(t)[k];
    }
    for (int r = 0; r < kLane; ++r)
      for (int k = 0; k < kVecs; ++k) {
        m[r][k] = m[r][k] * d + x[k] * ut[r];
        y[k] += m[r][k] * wt[r];
      }
    for (int k = 0; k < kVecs; ++k) out.at(t)[k] = y[k];
  }
}

inline float sigmoid(float x) {
  return 1.f / (1.f + std::exp(-x));
}
inline float softplus(float x) {
  return x > 20.f ? x : std::log1p(std::exp(x));
}

}  // namespace

extern "C" {

struct MambaShape {
  long batch, length, heads, groups, taps;
  float eps;
};

struct MambaParams {
  const float *conv_w /* [taps][conv] */, *conv_b, *dt_bias, *a_log, *d, *norm_w;
};

struct MambaGrads {
  float *conv_w, *conv_b, *dt_bias, *a_log, *d, *norm_w;
};

// in [B,L,width] -> out [B,L,inner]; keeps u [B,L,conv] and y [B,L,inner] for the backward pass.
void mamba_forward(const MambaShape* s, const MambaParams* p, const float* in, float* u, float* y,
                   float* out) {
  const long inner = s->heads * kLane, conv = inner + 2 * s->groups * kLane,
             width = inner + conv + s->heads;
  const long share = s->heads / s->groups, block = inner / s->groups;
#pragma omp parallel for schedule(dynamic)
  for (long b = 0; b < s->batch; ++b) {
    const float* ib = in + b * s->length * width;
    float* ub = u + b * s->length * conv;
    float* yb = y + b * s->length * inner;
    float* ob = out + b * s->length * inner;
    for (long t = 0; t < s->length; ++t) {
      float* ut = ub + t * conv;
      for (long c = 0; c < conv; ++c) ut[c] = p->conv_b[c];
      for (long j = 0; j < s->taps; ++j) {
        const long from = t - (s->taps - 1) + j;
        if (from < 0) continue;
        const float* x = ib + from * width + inner;
        const float* w = p->conv_w + j * conv;
        for (long c = 0; c < conv; ++c) ut[c] += w[c] * x[c];
      }
      for (long c = 0; c < conv; ++c) ut[c] *= sigmoid(ut[c]);
    }
    std::vector<float> dx(s->length * kLane), decay(s->length);
    std::memset(yb, 0, sizeof(float) * s->length * inner);
    for (long h = 0; h < s->heads; ++h) {
      const float a = -std::exp(p->a_log[h]);
      for (long t = 0; t < s->length; ++t) {
        const float dt = softplus(ib[t * width + inner + conv + h] + p->dt_bias[h]);
        decay[t] = std::exp(dt * a);
        for (long k = 0; k < kLane; ++k) dx[t * kLane + k] = dt * ub[t * conv + h * kLane + k];
      }
      float* bm = ub + inner + h / share * kLane;
      float* cm = bm + s->groups * kLane;
      scan(s->length, false, decay.data(), {bm, conv}, {dx.data(), kLane}, {cm, conv},
           {yb + h * kLane, inner});
    }
    for (long t = 0; t < s->length; ++t)
      for (long g = 0; g < s->groups; ++g) {
        float sum = 0.f;
        float* o = ob + t * inner;
        for (long c = g * block; c < (g + 1) * block; ++c) {
          const float z = ib[t * width + c];
          o[c] = (yb[t * inner + c] + p->d[c / kLane] * ub[t * conv + c]) * z * sigmoid(z);
          sum += o[c] * o[c];
        }
        const float r = 1.f / std::sqrt(sum / block + s->eps);
        for (long c = g * block; c < (g + 1) * block; ++c) o[c] *= r * p->norm_w[c];
      }
  }
}

// Parameter gradients are accumulated, `gin` is overwritten.
void mamba_backward(const MambaShape* s, const MambaParams* p, const MambaGrads* q, const float* in,
                    float* u, const float* y, const float* gout, float* gin) {
  const long inner = s->heads * kLane, conv = inner + 2 * s->groups * kLane,
             width = inner + conv + s->heads;
  const long share = s->heads / s->groups, block = inner / s->groups, n = s->length;
#pragma omp parallel
  {
    std::vector<float> gw(s->taps * conv), gb(conv), gdt(s->heads), ga(s->heads), gd(s->heads),
        gn(inner);
    std::vector<float> dy(n * inner), du(n * conv), dx(n * kLane), gdx(n * kLane), decay(n), dt(n),
        tmp(inner);
#pragma omp for schedule(dynamic)
    for (long b = 0; b < s->batch; ++b) {
      const float* ib = in + b * n * width;
      float* ub = u + b * n * conv;
      const float* yb = y + b * n * inner;
      const float* go = gout + b * n * inner;
      float* gi = gin + b * n * width;
      std::fill(du.begin(), du.end(), 0.f);
      for (long t = 0; t < n; ++t)
        for (long g = 0; g < s->groups; ++g) {
          const float* z = ib + t * width;
          const float* o = go + t * inner;
          float sum = 0.f, dot = 0.f;
          for (long c = g * block; c < (g + 1) * block; ++c) {
            const float full = yb[t * inner + c] + p->d[c / kLane] * ub[t * conv + c];
            tmp[c] = full * z[c] * sigmoid(z[c]);
            sum += tmp[c] * tmp[c];
            dot += o[c] * p->norm_w[c] * tmp[c];
          }
          const float r = 1.f / std::sqrt(sum / block + s->eps), k = r * r * dot / block;
          for (long c = g * block; c < (g + 1) * block; ++c) {
            const float full = yb[t * inner + c] + p->d[c / kLane] * ub[t * conv + c];
            const float sz = sigmoid(z[c]);
            gn[c] += o[c] * tmp[c] * r;
            const float dg = r * (o[c] * p->norm_w[c] - tmp[c] * k);
            dy[t * inner + c] = dg * z[c] * sz;
            gi[t * width + c] = dg * full * sz * (1.f + z[c] * (1.f - sz));
          }
        }
      for (long h = 0; h < s->heads; ++h) {
        const float a = -std::exp(p->a_log[h]);
        float* bm = ub + inner + h / share * kLane;
        float* cm = bm + s->groups * kLane;
        float* gbm = du.data() + inner + h / share * kLane;
        float* gcm = gbm + s->groups * kLane;
        for (long t = 0; t < n; ++t) {
          dt[t] = softplus(ib[t * width + inner + conv + h] + p->dt_bias[h]);
          decay[t] = std::exp(dt[t] * a);
          for (long k = 0; k < kLane; ++k) dx[t * kLane + k] = dt[t] * ub[t * conv + h * kLane + k];
        }
        std::fill(gdx.begin(), gdx.end(), 0.f);
        const Strided ds{dx.data(), kLane}, dys{dy.data() + h * kLane, inner}, bs{bm, conv},
            cs{cm, conv};
        scan(n, false, decay.data(), ds, bs, dys, {gcm, conv});
        scan(n, true, decay.data(), cs, dys, bs, {gdx.data(), kLane});
        scan(n, true, decay.data(), dys, cs, ds, {gbm, conv});
        double suffix = 0;
        for (long t = n - 1; t >= 0; --t) {
          const float* dyt = dy.data() + t * inner + h * kLane;
          const float* yt = yb + t * inner + h * kLane;
          const float* ux = ub + t * conv + h * kLane;
          const float* gx = gdx.data() + t * kLane;
          float* dux = du.data() + t * conv + h * kLane;
          float cum = 0.f, into = 0.f, skip = 0.f;
          for (long k = 0; k < kLane; ++k) {
            cum += dyt[k] * yt[k] - dx[t * kLane + k] * gx[k];
            into += gx[k] * ux[k];
            skip += dyt[k] * ux[k];
            dux[k] = dt[t] * gx[k] + p->d[h] * dyt[k];
          }
          suffix += cum;
          gd[h] += skip;
          ga[h] += static_cast<float>(suffix) * dt[t] * a;
          const float raw = ib[t * width + inner + conv + h] + p->dt_bias[h];
          const float g = (static_cast<float>(suffix) * a + into) * sigmoid(raw);
          gdt[h] += g;
          gi[t * width + inner + conv + h] = g;
        }
      }
      for (long t = 0; t < n; ++t) {  // du becomes the gradient before SiLU
        float* g = du.data() + t * conv;
        std::vector<float> pre(p->conv_b, p->conv_b + conv);
        for (long j = 0; j < s->taps; ++j) {
          const long from = t - (s->taps - 1) + j;
          if (from < 0) continue;
          const float* x = ib + from * width + inner;
          const float* w = p->conv_w + j * conv;
          for (long c = 0; c < conv; ++c) pre[c] += w[c] * x[c];
        }
        for (long c = 0; c < conv; ++c) {
          const float sg = sigmoid(pre[c]);
          g[c] *= sg * (1.f + pre[c] * (1.f - sg));
          gb[c] += g[c];
        }
        for (long j = 0; j < s->taps; ++j) {
          const long from = t - (s->taps - 1) + j;
          if (from < 0) continue;
          const float* x = ib + from * width + inner;
          for (long c = 0; c < conv; ++c) gw[j * conv + c] += g[c] * x[c];
        }
      }
      for (long t = 0; t < n; ++t) {
        float* g = gi + t * width + inner;
        for (long c = 0; c < conv; ++c) g[c] = 0.f;
        for (long j = 0; j < s->taps; ++j) {
          const long to = t + (s->taps - 1) - j;
          if (to >= n) continue;
          const float* d = du.data() + to * conv;
          const float* w = p->conv_w + j * conv;
          for (long c = 0; c < conv; ++c) g[c] += w[c] * d[c];
        }
      }
    }
#pragma omp critical
    {
      for (long c = 0; c < s->taps * conv; ++c) q->conv_w[c] += gw[c];
      for (long c = 0; c < conv; ++c) q->conv_b[c] += gb[c];
      for (long c = 0; c < inner; ++c) q->norm_w[c] += gn[c];
      for (long h = 0; h < s->heads; ++h) {
        q->dt_bias[h] += gdt[h];
        q->a_log[h] += ga[h];
        q->d[h] += gd[h];
      }
    }
  }
}

void rmsnorm_forward(long rows, long dim, float eps, const float* x, const float* w, float* out,
                     float* scale) {
#pragma omp parallel for
  for (long i = 0; i < rows; ++i) {
    const float* xi = x + i * dim;
    float sum = 0.f;
    for (long c = 0; c < dim; ++c) sum += xi[c] * xi[c];
    const float r = scale[i] = 1.f / std::sqrt(sum / dim + eps);
    for (long c = 0; c < dim; ++c) out[i * dim + c] = xi[c] * r * w[c];
  }
}

void rmsnorm_backward(long rows, long dim, const float* x, const float* w, const float* scale,
                      const float* gout, float* gx, float* gw) {
#pragma omp parallel
  {
    std::vector<float> local(dim);
#pragma omp for
    for (long i = 0; i < rows; ++i) {
      const float *xi = x + i * dim, *g = gout + i * dim;
      const float r = scale[i];
      float dot = 0.f;
      for (long c = 0; c < dim; ++c) dot += g[c] * w[c] * xi[c];
      const float k = r * r * dot / dim;
      for (long c = 0; c < dim; ++c) {
        gx[i * dim + c] = r * (g[c] * w[c] - xi[c] * k);
        local[c] += g[c] * xi[c] * r;
      }
    }
#pragma omp critical
    for (long c = 0; c < dim; ++c) gw[c] += local[c];
  }
}
}
