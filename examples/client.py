"""A client of the bib servers: trains both tasks, watches, predicts, streams, lists.

    bib serve --models models --port 20001 &
    env=$(scripts/python-client)
    PYTHONPATH=$env/stubs $env/bin/python examples/client.py 127.0.0.1:20001 data/tc/train.txt data/ner/train.txt
"""
import ast
import sys

import grpc
import job_pb2
import job_pb2_grpc
import model_pb2
import model_pb2_grpc
import predict_pb2
import predict_pb2_grpc
import train_pb2
import train_pb2_grpc


def read(path):
    """The original's lists: ['text', '', 'label', '']."""
    for line in open(path, encoding='utf-8'):
        text, *labels = ast.literal_eval(line)
        yield {'text': text, 'label': next(label for label in labels if label)}


def chunks(name, path):
    """A corpus in any format of `bib convert`, in pieces; the first carries the name."""
    with open(path, 'rb') as file:
        yield train_pb2.DataSetChunk(name=name)
        while data := file.read(1 << 20):
            yield train_pb2.DataSetChunk(data=data)


def show(records):
    """Prints a job's progress as it comes; returns the last record."""
    for record in records:
        print(f'\r{record.status} {100 * record.progress:5.1f} %  {record.estimate:.1f} s', end='', flush=True)
    print(f'  {record.model_name} version {record.model_version}')
    return record


def main(address, tc_path, ner_path):
    data_set = list(read(tc_path))

    # As the original's clients do.
    channel = grpc.insecure_channel(address)
    stub = train_pb2_grpc.TrainProviderStub(channel)
    request = train_pb2.TrainTextClassificationModelRequest(model_name='tc_train', epochs=1, train_rate=0.8, data_set=data_set)
    last = show(stub.TrainTextClassificationModel(request))

    # A job can be watched again, from any record on.
    jobs = job_pb2_grpc.JobProviderStub(channel)
    watch = jobs.WatchJob(job_pb2.WatchJobRequest(job_id=last.job_id, after_sequence=last.sequence - 1))
    print('watched again:', [r.status for r in watch])

    # A corpus of any size is uploaded first. The same request_id again would be the same job.
    uploaded = stub.UploadDataSet(chunks('people', ner_path))
    options = train_pb2.TrainOptions(dataset_id=uploaded.dataset_id, seed=1, request_id=uploaded.dataset_id)
    show(stub.TrainNamedEntityRecognitionModel(train_pb2.TrainNamedEntityRecognitionModelRequest(
        model_name='ner_train', epochs=1, train_rate=0.9, options=options)))

    predict = predict_pb2_grpc.PredictProviderStub(channel)
    reply = predict.PredictTextClassification(predict_pb2.PredictTextClassificationRequest(
        model_name='tc_train', text=[d['text'] for d in data_set[:3]], top_k=2))
    for example, result in zip(data_set, reply.results):
        print(example['text'], '->', ', '.join(f'{c.label} {c.score:.2f}' for c in result.classes))
    text = '서울에 사는 김민수는 2026년에 카카오에 들어갔다.'
    reply, call = predict.PredictNamedEntityRecognition.with_call(predict_pb2.PredictNamedEntityRecognitionRequest(
        model_name='ner_train', text=[text]), timeout=10)
    print(text, '->', [(e.start, e.end, e.label, e.text, round(e.score, 2)) for e in reply.results[0].entities])
    print('milliseconds:', dict(call.trailing_metadata())['bib-timing'])

    # One stream for many requests; the replies carry the ids.
    requests = (predict_pb2.PredictRequest(id=i, named_entity_recognition={'model_name': 'ner_train', 'text': [d['text']]})
                for i, d in enumerate(data_set[:20]))
    print('stream:', sorted(r.id for r in predict.PredictStream(requests)))

    for model in model_pb2_grpc.ModelProviderStub(channel).ListModels(model_pb2.ListModelsRequest()).models:
        print(model.model_name, model.classification, [v.version for v in model.versions])
    for job in jobs.ListJobs(job_pb2.ListJobsRequest()).jobs:
        print(job.job_id, job.model_name, train_pb2.JobState.Name(job.state))


if __name__ == '__main__':
    main(*sys.argv[1:])
